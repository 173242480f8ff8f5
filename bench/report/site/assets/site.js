/* Sorting, filters, tooltips, search. Without it every page is whole; nothing here loads anything. */
"use strict";
(() => {
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  document.documentElement.classList.add("scripted");

  /* theme: the system's, until somebody says otherwise */
  const stored = { // a browser may refuse storage to files
    get: () => { try { return localStorage.getItem("bench-theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("bench-theme", value); } catch { /* then it lasts a page */ } },
  };
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const theme = stored.get();
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
  for (const button of $$("[data-theme-toggle]")) {
    const name = () => {
      button.title = isDark() ? "Light colours" : "Dark colours";
      button.setAttribute("aria-label", button.title);
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      stored.set(root.dataset.theme);
      name();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
    name();
  }

  /* tables: a button in each sortable header; groups of rows stay apart */
  const valueOf = (row, column, kind) => {
    if (kind === "place") return Number(row.id.replace("row-", "")); // shared ranks stay in their order
    const cell = row.cells[column];
    // a name sorts before the same name with more to it, whatever small print follows
    const text = [...(cell?.childNodes ?? [])].map((node) => node.textContent.trim()).join("\n").trim();
    const known = text !== "" && text !== "–";
    return kind === "number" ? parseFloat(text.replace("−", "-")) : known ? text.toLowerCase() : null;
  };
  const missing = (value) => value === null || Number.isNaN(value);
  const sort = (table, header) => {
    const kind = header.dataset.sort;
    const column = header.cellIndex;
    const first = kind === "number" ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = header.getAttribute("aria-sort") === first ? other : first;
    for (const one of $$("thead th[aria-sort]", table)) one.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("divider"));
      const keyed = rows.map((row) => [valueOf(row, column, kind), row]);
      keyed.sort(([a], [b]) => {
        if (missing(a) || missing(b)) return missing(a) - missing(b);
        return sign * (kind === "text" ? a.localeCompare(b) : a - b);
      });
      body.append(...keyed.map(([, row]) => row));
    }
  };
  for (const table of $$("table[data-sortable]")) {
    for (const header of $$("thead th[data-sort]", table)) {
      const button = make("button", { type: "button" }, ...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => sort(table, header));
    }
  }

  /* chart */
  const chart = document.querySelector("[data-chart]");
  const points = chart ? $$("a.point", chart) : [];
  const rowOf = (point) => document.getElementById(point.getAttribute("href").slice(1));
  const shown = () => points.filter((point) => point.style.display !== "none");
  const at = new Map(points.map((point) => { // percent of the plot's width and height, and pixels beside that
    const mark = point.querySelector("circle, use");
    const [x, y] = ["x", "y"].map((name) => parseFloat(mark.getAttribute(name) ?? mark.getAttribute(`c${name}`)));
    return [point, { x, y, dx: Number(point.dataset.dx ?? 0) }];
  }));

  const tip = chart?.querySelector("[data-tip]");
  const told = (point) => {
    const row = rowOf(point);
    const text = (selector) => row?.querySelector(selector)?.textContent.trim() ?? "";
    const lines = [
      make("b", { textContent: text(".model a") }),
      make("span", { textContent: point.dataset.told.split(": ").slice(-1)[0] }),
    ];
    const here = shown().filter((one) => one !== point && Math.abs(at.get(one).x - at.get(point).x) < 0.3 && Math.abs(at.get(one).y - at.get(point).y) < 1.5);
    const others = here.length ? `and ${here.length} more here` : "";
    const more = [["supervision: ", row.querySelector(".labels").firstChild.textContent], ["", text(".paper a")], ["", point.classList.contains("published") ? text(".status .chip") : ""], ["", others]];
    for (const [what, said] of more) if (said) lines.push(make("span", { textContent: what + said }));
    return lines;
  };
  const show = (point) => {
    for (const one of points) one.classList.toggle("near", one === point);
    tip.hidden = !point;
    if (!point) return;
    tip.replaceChildren(...told(point));
    const plot = tip.parentElement;
    const x = (at.get(point).x / 100) * plot.clientWidth + at.get(point).dx;
    const y = (at.get(point).y / 100) * plot.clientHeight;
    const left = Math.min(Math.max(x - tip.offsetWidth / 2, -24), plot.clientWidth - tip.offsetWidth + 8);
    const above = y - tip.offsetHeight - 16;
    tip.style.left = `${left}px`;
    tip.style.top = `${above < -30 ? y + 16 : above}px`;
  };
  const rove = (point) => {
    for (const one of points) one.setAttribute("tabindex", one === point ? "0" : "-1");
  };
  if (chart && points.length) {
    for (const point of points) {
      const title = point.querySelector("title");
      point.dataset.told = title.textContent;
      point.setAttribute("aria-label", title.textContent);
      title.remove(); // or the browser's own tooltip stands beside ours
    }
    const byDate = () => shown().sort((a, b) => at.get(a).x - at.get(b).x || at.get(b).y - at.get(a).y);
    rove(byDate()[0]);
    const plot = chart.querySelector(".plot");
    plot.addEventListener("focusin", (event) => {
      const point = event.target.closest("a.point");
      if (point) { rove(point); show(point); }
    });
    plot.addEventListener("focusout", () => show(null));
    plot.addEventListener("keydown", (event) => {
      const point = event.target.closest("a.point");
      const order = byDate();
      const place = order.indexOf(point);
      const next = {
        ArrowRight: place + 1, ArrowDown: place + 1, ArrowLeft: place - 1, ArrowUp: place - 1, Home: 0, End: order.length - 1,
      }[event.key];
      if (event.key === "Escape") show(null);
      if (!point || next === undefined) return;
      event.preventDefault();
      order[Math.min(Math.max(next, 0), order.length - 1)].focus();
    });
    const hover = (event) => {
      if (event.target.closest("[data-tip]")) return;
      const box = plot.getBoundingClientRect();
      const distance = (point) => Math.hypot(
        box.left + (at.get(point).x / 100) * box.width + at.get(point).dx - event.clientX,
        box.top + (at.get(point).y / 100) * box.height - event.clientY,
      );
      const near = shown().map((point) => [distance(point), point]).sort((a, b) => a[0] - b[0])[0];
      show(near && near[0] < 26 ? near[1] : null);
    };
    plot.addEventListener("pointermove", hover);
    plot.addEventListener("pointerdown", hover); // a finger does not hover
    plot.addEventListener("pointerleave", () => show(null));
    document.addEventListener("keydown", (event) => { if (event.key === "Escape") show(null); });
  }

  /* the running best of what is shown */
  const redraw = () => {
    if (!chart) return;
    for (const point of points) point.style.display = rowOf(point).hidden ? "none" : "";
    for (const name of $$(".names text", chart)) {
      name.style.display = document.getElementById(`row-${name.dataset.row}`).hidden ? "none" : "";
    }
    const falling = "falling" in chart.dataset;
    const main = new Map();
    for (const point of shown()) {
      const row = rowOf(point);
      if ("context" in row.dataset || "apart" in row.dataset) continue;
      if (!main.has(row) || point.classList.contains("published")) main.set(row, [at.get(point).x, at.get(point).y]);
    }
    const better = (a, b) => (falling ? a > b : a < b); // y counts downwards
    const dated = [...main.values()].sort((a, b) => a[0] - b[0] || (better(a[1], b[1]) ? -1 : 1));
    const corners = dated.filter(([, y], i) => dated.slice(0, i).every(([, earlier]) => better(y, earlier)));
    const group = chart.querySelector("[data-best]");
    const line = (x1, y1, x2, y2) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", "line");
      for (const [name, value] of Object.entries({ x1, y1, x2, y2 })) element.setAttribute(name, `${value}%`);
      return element;
    };
    group.replaceChildren(...corners.flatMap(([x, y], i) => {
      const [nextX, nextY] = corners[i + 1] ?? [100, y];
      return nextY === y ? [line(x, y, nextX, y)] : [line(x, y, nextX, y), line(nextX, y, nextX, nextY)];
    }));
    const order = shown().sort((a, b) => at.get(a).x - at.get(b).x);
    if (order.length && !order.some((point) => point.getAttribute("tabindex") === "0")) rove(order[0]);
  };

  /* filters: they stand in the page's address, and the switches of protocol and metric carry them along */
  const filters = document.querySelector("[data-filters]");
  if (filters) {
    filters.hidden = false;
    const asked = new URLSearchParams(location.search);
    if (asked.has("unsupervised")) asked.set("labels", "none");
    const boxes = $$("input[type=checkbox]", filters);
    const selects = $$("select", filters);
    for (const box of boxes) box.checked = asked.has(box.name);
    const ignored = []; // asked for, as where another page was filtered, but no row here has it
    for (const select of selects) {
      const value = asked.get(select.name) ?? "";
      const known = [...select.options].some((option) => option.value === value);
      select.value = known ? value : "";
      if (!known) ignored.push(`${select.parentElement.firstElementChild.textContent.toLowerCase()} “${value}”`);
      else if (value) select.parentElement.hidden = false;
    }
    const rows = $$("table.ranking tbody tr[id]");
    const fits = (row, { name, value }) => {
      if (name !== "detail") return row.dataset[name] === value;
      const has = (row.dataset.detail ?? "").split("; ");
      return value.startsWith("!") ? !has.includes(value.slice(1)) : has.includes(value);
    };
    const apply = (event) => {
      const wanted = selects.filter((select) => select.value);
      const only = boxes.some((box) => box.name === "comparable" && box.checked);
      for (const row of rows) {
        row.hidden = (only && "context" in row.dataset) || !wanted.every((select) => fits(row, select));
      }
      for (const divider of $$("table.ranking .divider")) {
        divider.hidden = $$("tr[id]", divider.parentElement).every((row) => row.hidden);
      }
      const left = rows.filter((row) => !row.hidden).length;
      const beside = ignored.length && !event ? `; ignored, as no row here has it: ${ignored.join(", ")}` : "";
      filters.querySelector("[role=status]").textContent =
        (left === rows.length ? `${left} row${left === 1 ? "" : "s"}` : `${left} of ${rows.length} rows; ranks are those among all rows`) + beside;
      const kept = new URLSearchParams(wanted.map((select) => [select.name, select.value]));
      for (const box of boxes) if (box.checked) kept.set(box.name, "");
      const query = kept.size ? `?${kept}`.replace(/=(?=&|$)/g, "") : "";
      for (const link of $$("a[data-keep]")) {
        const [path, hash] = link.getAttribute("href").split("#");
        link.setAttribute("href", `${path.split("?")[0]}${query}#${hash}`);
      }
      if (event) try { history.replaceState(null, "", `${location.pathname}${query}${location.hash}`); } catch { /* a file's address may be fixed */ }
      filters.querySelector("[type=reset]").hidden = !query;
      redraw();
    };
    filters.addEventListener("change", apply);
    filters.addEventListener("submit", (event) => event.preventDefault());
    filters.addEventListener("reset", (event) => {
      event.preventDefault(); // or it would go back to what the page was opened with
      for (const select of selects) select.value = "";
      for (const box of boxes) box.checked = false;
      apply(event);
      [...selects, ...boxes].find((one) => one.checkVisibility()).focus();
    });
    const unhide = () => { // a link to a row that the filters leave out brings it back
      const row = location.hash && document.getElementById(location.hash.slice(1));
      if (row?.hidden) filters.querySelector("[type=reset]").click();
    };
    addEventListener("hashchange", unhide);
    apply();
  }

  /* search */
  const search = document.querySelector("[data-search]");
  if (search && Array.isArray(window.benchIndex)) {
    search.hidden = false;
    const input = search.querySelector("input");
    const list = search.querySelector("ul");
    const said = search.querySelector("[role=status]");
    const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
    const index = window.benchIndex.map(([title, kind, url, more]) => ({ title, kind, url, name: plain(title), all: plain(`${title} ${kind} ${more}`) }));
    const most = 20;
    const find = () => {
      const words = plain(input.value).split(/\s+/).filter(Boolean);
      const score = (entry) => (entry.name.startsWith(words[0]) ? 0 : words.every((word) => entry.name.includes(word)) ? 1 : 2);
      const found = words.length ? index.filter((entry) => words.every((word) => entry.all.includes(word))) : [];
      found.sort((a, b) => score(a) - score(b));
      list.replaceChildren(...found.slice(0, most).map((entry) => make("li", {}, make(
        "a", { href: entry.url }, make("bdi", { textContent: entry.title }), make("small", {}, make("bdi", { textContent: entry.kind })),
      ))));
      said.textContent = !words.length ? "" : found.length > most ? `${found.length} found, the first ${most} shown` : `${found.length} found`;
    };
    input.addEventListener("input", find);
    search.addEventListener("keydown", (event) => {
      const links = $$("a", list);
      const at = links.indexOf(document.activeElement);
      if (event.key === "Escape") { input.value = ""; find(); input.focus(); }
      else if (event.key === "Enter" && at < 0 && links.length) links[0].click();
      else if (event.key === "ArrowDown" && links.length) { event.preventDefault(); links[Math.min(at + 1, links.length - 1)].focus(); }
      else if (event.key === "ArrowUp" && at >= 0) { event.preventDefault(); (links[at - 1] ?? input).focus(); }
    });
    find();
  }

  /* a box that hides the rows without its words */
  const narrow = document.querySelector("[data-narrow]");
  if (narrow) {
    const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
    const rows = $$("table[data-narrowed] tbody tr").map((row) => [row, plain(row.textContent)]);
    const input = narrow.querySelector("input");
    const apply = () => {
      const words = plain(input.value).split(/\s+/).filter(Boolean);
      for (const [row, text] of rows) row.hidden = !words.every((word) => text.includes(word));
      const left = rows.filter(([row]) => !row.hidden).length;
      narrow.querySelector("[role=status]").textContent = words.length ? `${left} of ${rows.length}` : "";
    };
    narrow.hidden = false;
    narrow.addEventListener("submit", (event) => event.preventDefault());
    input.addEventListener("input", apply);
    apply();
  }

  /* how much of the image is seen through its classes */
  for (const slider of $$("[data-veil]")) {
    slider.addEventListener("input", () => root.style.setProperty("--veil", slider.value / 100));
  }

  /* commands to copy */
  for (const box of $$("[data-copy]")) {
    const button = make("button", { type: "button", textContent: "Copy" });
    const said = make("span", { className: "vh" });
    said.setAttribute("role", "status");
    const copied = async (text) => {
      try { await navigator.clipboard.writeText(text); return true; } catch { /* files may not; select it instead */ }
      getSelection().selectAllChildren(box.querySelector("code"));
      return document.execCommand("copy");
    };
    button.addEventListener("click", async () => {
      button.textContent = (await copied(box.querySelector("code").textContent)) ? "Copied" : "Selected";
      said.textContent = button.textContent;
      setTimeout(() => { button.textContent = "Copy"; said.textContent = ""; }, 1600);
    });
    box.append(button, said);
  }
})();
