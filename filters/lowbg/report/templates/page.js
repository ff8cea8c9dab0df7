"use strict";
(() => {
  const value = (row, i) => {
    const cell = row.cells[i], own = cell.dataset.v;
    return own === undefined ? cell.textContent.trim() : Number(own);
  };
  const compare = (a, b) => {
    const numbers = typeof a === "number", others = typeof b === "number";
    if (numbers && others) return a - b;
    if (numbers !== others) return numbers ? 1 : -1;
    return a.localeCompare(b, "en", { numeric: true });
  };
  for (const table of document.querySelectorAll("table.sorts")) {
    const body = table.tBodies[0], rows = [...body.rows];
    [...table.tHead.rows[0].cells].forEach((head, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const falling = head.getAttribute("aria-sort") !== "descending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        const sign = falling ? -1 : 1;
        body.append(...[...body.rows].sort((a, b) => sign * compare(value(a, i), value(b, i))));
      });
    });
    if (rows.length < 10) continue;
    const label = document.createElement("label"), input = document.createElement("input");
    const shown = document.createElement("span");
    label.className = "filter";
    shown.setAttribute("role", "status");
    input.type = "search";
    label.append("Filter ", input, " ", shown);
    table.parentElement.before(label);
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase();
      let found = 0;
      for (const row of rows) {
        row.hidden = !row.textContent.toLowerCase().includes(wanted);
        found += !row.hidden;
      }
      shown.textContent = wanted ? `${found} of ${rows.length}` : "";
    });
  }
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });
})();
