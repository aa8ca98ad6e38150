// Sliders over the pairs of pictures, and tables that sort; without this both lie open on the page.
(() => {
  "use strict";
  document.documentElement.classList.add("js");

  const make = (tag, values, parent) => {
    const element = Object.assign(document.createElement(tag), values);
    if (parent) parent.append(element);
    return element;
  };

  for (const duo of document.querySelectorAll(".duo")) {
    const input = make("input", { type: "range", min: 0, max: 100, step: 0.5, value: 50 }, duo);
    input.setAttribute("aria-label", `Original left of the line, result right of it: ${duo.dataset.name}`);
    const show = () => {
      duo.style.setProperty("--at", `${input.value}%`);
      input.setAttribute("aria-valuetext", `${Math.round(input.value)} % original`);
    };
    const follow = event => {
      const box = duo.querySelector(".frame").getBoundingClientRect();
      input.value = 100 * (event.clientX - box.left) / box.width;
      show();
    };
    let held = false;
    input.addEventListener("input", show);
    duo.addEventListener("dragstart", event => event.preventDefault());
    duo.addEventListener("pointerdown", event => {
      held = event.button === 0;
      if (!held) return;
      duo.setPointerCapture(event.pointerId);
      if (event.pointerType !== "touch") follow(event); // a finger may be about to scroll
    });
    duo.addEventListener("pointermove", event => { if (held) follow(event); });
    for (const end of ["pointerup", "pointercancel"]) duo.addEventListener(end, () => { held = false; });
    duo.addEventListener("click", event => { follow(event); input.focus({ preventScroll: true }); });
    show();
  }

  const PAGE = 100; // rows
  const collator = new Intl.Collator(undefined, { numeric: true });
  for (const table of document.querySelectorAll("table.files")) {
    const body = table.tBodies[0];
    const all = [...body.rows].map(row => ({
      row,
      name: row.cells[0].textContent.toLowerCase(),
      values: [...row.cells].map(cell => cell.dataset.v === undefined ? null : Number(cell.dataset.v)),
    }));
    let rows = all, first = 0;

    const bar = make("div", { className: "pager" });
    const label = make("label", { textContent: "Find a name " }, bar);
    const find = make("input", { type: "search" }, label);
    const count = make("span", {}, bar);
    count.setAttribute("role", "status");
    const turn = step => () => { first += step; fill(); };
    const back = make("button", { type: "button", textContent: "Previous", onclick: turn(-PAGE) }, bar);
    const next = make("button", { type: "button", textContent: "Next", onclick: turn(PAGE) }, bar);
    const fill = () => {
      body.replaceChildren(...rows.slice(first, first + PAGE).map(each => each.row));
      const end = Math.min(first + PAGE, rows.length), format = number => number.toLocaleString("en");
      count.textContent = `${format(Math.min(first + 1, end))} to ${format(end)} of ${format(rows.length)}`;
      back.disabled = first === 0;
      next.disabled = end === rows.length;
    };
    const filter = () => {
      const text = find.value.toLowerCase();
      rows = all.filter(each => each.name.includes(text));
      first = 0;
      fill();
    };
    find.addEventListener("input", filter);
    if (all.length > PAGE) table.parentElement.before(bar);

    const compare = column => (a, b) => {
      const [x, y] = [a.values[column], b.values[column]];
      return column === 0 ? collator.compare(a.name, b.name) : x === y ? 0 : x < y ? -1 : 1;
    };
    const sort = (column, down) => {
      const known = all.filter(each => column === 0 || each.values[column] !== null);
      const unknown = all.filter(each => column !== 0 && each.values[column] === null); // always last
      known.sort(compare(column));
      if (down) known.reverse();
      all.splice(0, all.length, ...known, ...unknown);
      filter();
    };
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", textContent: head.textContent });
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        sort(column, down);
      });
    });
    fill();
  }
})();
