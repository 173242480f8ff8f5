/* The matrix: columns and rows that are wanted. Without it the whole table is there. */
"use strict";
(() => {
  const form = document.querySelector("[data-matrix]");
  const table = document.querySelector("table.cross");
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows];
  const selects = [...form.querySelectorAll("select")];
  const box = form.querySelector("input");
  const asked = new URLSearchParams(location.search);
  form.hidden = false;
  for (const select of selects) select.value = asked.get(select.name) ?? "";
  for (const select of selects) if (select.selectedIndex < 0) select.value = "";
  box.checked = asked.has(box.name);
  // a phone has room for one data set
  if (!location.search && matchMedia("(max-width: 52rem)").matches) selects[0].selectedIndex = 1;

  const apply = (event) => {
    const wanted = selects.filter((select) => select.value);
    const on = heads.map((head, column) => column === 0 || (
      wanted.every((select) => head.dataset[select.name] === select.value) && (!box.checked || "unlabelled" in head.dataset)
    ));
    heads.forEach((head, column) => { head.hidden = !on[column]; });
    let left = 0;
    for (const row of rows) {
      let filled = false;
      [...row.cells].forEach((cell, column) => {
        cell.hidden = !on[column];
        filled ||= column > 0 && on[column] && cell.firstChild !== null;
      });
      row.hidden = !filled || (box.checked && !("unsupervised" in row.dataset));
      left += !row.hidden;
    }
    const columns = on.filter(Boolean).length - 1;
    form.querySelector("[role=status]").textContent =
      `${left} model${left === 1 ? "" : "s"} by ${columns} benchmark${columns === 1 ? "" : "s"}`;
    const kept = new URLSearchParams(wanted.map((select) => [select.name, select.value]));
    if (box.checked) kept.set(box.name, "");
    const query = kept.size ? `?${kept}`.replace(/=(?=&|$)/g, "") : "";
    form.querySelector("[type=reset]").hidden = !query;
    if (event) try { history.replaceState(null, "", `${location.pathname}${query}${location.hash}`); } catch { /* a file's address may be fixed */ }
  };
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    for (const select of selects) select.value = "";
    box.checked = false;
    selects[0].focus();
    apply(event);
  });
  apply();
})();
