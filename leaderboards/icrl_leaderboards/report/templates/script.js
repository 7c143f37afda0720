"use strict";
// Sorting and filtering. The page is complete without this script, which only reorders and hides what is there already.

const UNITS = { k: 1e3, M: 1e6, G: 1e9, ms: 1e-3, s: 1, min: 60, h: 3600 };

// The number that a cell begins with, in its unit; null where it begins with none.
function numberIn(cell) {
  const found = /^([+−-]?[\d,]*\.?\d+(?:e[+-]?\d+)?)\s*(k|M|G|ms|s|min|h)?(?![\w])/.exec(cell.textContent.trim());
  return found && Number(found[1].replace(/,/g, "").replace("−", "-")) * (UNITS[found[2]] || 1);
}

function compareCells(a, b) {
  const [one, other] = [numberIn(a), numberIn(b)];
  if (one !== null && other !== null) return one - other;
  return a.textContent.trim().localeCompare(b.textContent.trim(), "en");
}

function isEmpty(cell) {
  return ["", "–"].includes(cell.textContent.trim());
}

function sortBy(table, header, index) {
  const down = header.getAttribute("aria-sort") === "descending" || (!header.hasAttribute("aria-sort") && index === 0);
  for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "ascending" : "descending");
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((a, b) => {
    const [one, other] = [a.cells[index], b.cells[index]];
    if (isEmpty(one) || isEmpty(other)) return isEmpty(one) - isEmpty(other); // nothing to compare: always last
    return compareCells(one, other) * (down ? 1 : -1);
  });
  body.append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, index) => {
    if (header.classList.contains("unsorted")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sortBy(table, header, index));
    header.append(button);
  });
}

// A click on a method's curve, dot or name fades all of it within that figure; another click brings it back.
for (const figure of document.querySelectorAll("figure")) {
  figure.addEventListener("click", (event) => {
    const chosen = event.target.closest("[data-series]");
    for (const each of chosen ? figure.querySelectorAll("[data-series]") : []) {
      if (each.dataset.series === chosen.dataset.series) each.classList.toggle("faded");
    }
  });
}

const controls = document.getElementById("controls");
if (controls) {
  const words = document.getElementById("filter-text");
  const selects = [...controls.querySelectorAll("select")];
  const status = document.getElementById("filter-status");

  const matches = (text, wanted) => wanted.every((word) => text.includes(word));
  const nameOf = (element) => ["environment", "protocol", "track"].map((key) => element.dataset[key] || "").join(" ");

  function apply() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let [shown, total] = [0, 0];
    for (const board of document.querySelectorAll(".board")) {
      let inBoard = 0;
      const names = new Map();
      for (const section of board.querySelectorAll(".environment")) {
        const chosen = selects.every((each) => !each.value || section.dataset[each.dataset.key] === each.value);
        const place = nameOf(section);
        let here = 0;
        for (const row of section.querySelectorAll(".results tr[data-method]")) {
          const kept = chosen && matches((row.cells[0].textContent + " " + place).toLowerCase(), wanted);
          row.hidden = !kept;
          here += kept;
          total += 1;
          if (kept) names.set(row.dataset.method, true);
        }
        for (const other of section.querySelectorAll("[data-series], details.run, .other tr[data-method]")) {
          const text = other.dataset.series || other.dataset.method || "";
          other.classList.toggle("off", !matches((text + " " + (other.dataset.text || "") + " " + place).toLowerCase(), wanted));
        }
        section.hidden = here === 0;
        inBoard += here;
        for (const small of document.querySelectorAll("[data-of='" + section.id + "']")) {
          small.hidden = here === 0;
          for (const series of small.querySelectorAll("[data-series]")) {
            series.classList.toggle("off", !matches((series.dataset.series + " " + place).toLowerCase(), wanted));
          }
        }
      }
      for (const row of board.querySelectorAll(".ranking tr[data-method]")) row.hidden = !names.has(row.dataset.method);
      board.hidden = inBoard === 0;
      shown += inBoard;
    }
    const all = !wanted.length && selects.every((each) => !each.value);
    status.textContent = all ? "" : shown + " of " + total + " rows";
  }

  controls.hidden = false;
  controls.addEventListener("input", apply);
  controls.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("filter-reset").addEventListener("click", () => {
    words.value = "";
    for (const each of selects) each.value = "";
    apply();
  });
  apply();
}
