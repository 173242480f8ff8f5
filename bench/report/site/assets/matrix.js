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
  const ignored = [];
  for (const name of new Set(selects.map((select) => select.name))) { // a data set may be asked for twice
    const free = selects.filter((select) => select.name === name);
    for (const value of new Set(asked.getAll(name).filter(Boolean))) {
      const known = free.length && [...free[0].options].some((option) => option.value === value);
      if (known) free.shift().value = value;
      else ignored.push(`${name} “${value}”`);
    }
  }
  box.checked = asked.has(box.name);
  // a phone has room for one data set
  if (!location.search && matchMedia("(max-width: 52rem)").matches) selects[0].selectedIndex = 1;

  const apply = (event) => {
    const wanted = selects.filter((select) => select.value);
    const values = (name) => [...new Set(wanted.filter((select) => select.name === name).map((select) => select.value))];
    const [datasets, protocols] = [values("dataset"), values("protocol")];
    const among = (some, value) => !some.length || some.includes(value);
    const on = heads.map((head, column) => column === 0 || (
      among(datasets, head.dataset.dataset) && among(protocols, head.dataset.protocol) && (!box.checked || "unlabelled" in head.dataset)
    ));
    heads.forEach((head, column) => { head.hidden = !on[column]; });
    let left = 0;
    for (const row of rows) {
      const filled = new Set(); // the data sets that it has figures on
      [...row.cells].forEach((cell, column) => {
        cell.hidden = !on[column];
        if (column > 0 && on[column] && cell.firstChild !== null) filled.add(heads[column].dataset.dataset);
      });
      row.hidden = !filled.size || !datasets.every((name) => filled.has(name)) || (box.checked && !("unsupervised" in row.dataset));
      left += !row.hidden;
    }
    const columns = on.filter(Boolean).length - 1;
    const both = datasets.length > 1 ? ", with figures on both data sets" : "";
    const beside = ignored.length && !event ? `; ignored, as the table has no such value: ${ignored.join(", ")}` : "";
    form.querySelector("[role=status]").textContent =
      `${left} model${left === 1 ? "" : "s"} by ${columns} benchmark${columns === 1 ? "" : "s"}${both}${beside}`;
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
