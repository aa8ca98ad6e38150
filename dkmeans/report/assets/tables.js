// Tables that sort by their heads; long ones are shown in parts, and a name is found.
{
  const PAGE = 100; // rows
  const collator = new Intl.Collator("en", { numeric: true });

  // The exact number of a cell, or null. What has no error at all is written as null: the best PSNR.
  const valueOf = cell => {
    const value = cell.dataset.v ?? cell.querySelector("data")?.value;
    if (value === undefined) return null;
    return value === "null" ? Infinity : Number(value);
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    const all = [...body.rows].map(row => ({
      row,
      texts: [...row.cells].map(cell => cell.textContent.trim()),
      values: [...row.cells].map(valueOf),
    }));
    let rows = all, first = 0;

    const bar = make("div", { className: "pager" });
    const label = make("label", { textContent: "Find a name " }, bar);
    const find = make("input", { type: "search" }, label);
    const count = make("span", {}, bar);
    count.setAttribute("role", "status");
    const turn = step => () => { first += step; fill(); };
    const back = button("Previous", "", bar, turn(-PAGE));
    const next = button("Next", "", bar, turn(PAGE));
    const put = shown => body.replaceChildren(...shown.map(each => each.row));
    const fill = () => {
      put(rows.slice(first, first + PAGE));
      const end = Math.min(first + PAGE, rows.length), format = number => number.toLocaleString("en");
      count.textContent = `${format(Math.min(first + 1, end))} to ${format(end)} of ${format(rows.length)}`;
      back.disabled = first === 0;
      next.disabled = end === rows.length;
    };
    const filter = () => {
      const text = find.value.toLowerCase();
      rows = all.filter(each => each.texts[0].toLowerCase().includes(text));
      first = 0;
      fill();
    };
    find.addEventListener("input", filter);
    if (all.length > PAGE) {
      table.parentElement.before(bar);
      addEventListener("beforeprint", () => put(rows));
      addEventListener("afterprint", fill);
      fill();
    }

    const sort = (column, down) => {
      const numbers = all.some(each => each.values[column] !== null && !Number.isNaN(each.values[column]));
      const known = each => numbers ? each.values[column] !== null : each.texts[column] !== "";
      const compare = (a, b) => {
        const [x, y] = [a.values[column], b.values[column]];
        return numbers ? (x === y ? 0 : x < y ? -1 : 1) : collator.compare(a.texts[column], b.texts[column]);
      };
      const ordered = all.filter(known).sort(compare);
      if (down) ordered.reverse();
      all.splice(0, all.length, ...ordered, ...all.filter(each => !known(each))); // unknown ones always last
      filter();
    };
    heads.forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const press = make("button", { type: "button" });
      press.append(...head.childNodes);
      head.append(press);
      press.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        sort(column, down);
      });
    });
  }
}
