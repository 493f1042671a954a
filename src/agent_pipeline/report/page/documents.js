"use strict";
/* The list of documents: filtered, sorted, a page at a time, so that ten thousand stay quick. */
(async function () {
  const PAGE = 25;
  const { names } = report;
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const filter = document.getElementById("filter");
  const found = document.getElementById("found");
  const previous = document.getElementById("previous");
  const next = document.getElementById("next");

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  }

  let data;
  try {
    data = await unpack(report.documents);
  } catch (error) {
    found.textContent = "This browser can't unpack the list of documents; a newer one can.";
    return;
  }
  const { columns, stories } = data;
  const text = (value) => value || "-";
  const described = [
    { name: "document", key: "id" },
    { name: "ended", key: "outcome", show: (row) => names.outcomes[row.outcome] },
    { name: "at", key: "stage", word: true, show: (row) => text(names.stages[row.stage]) },
    { name: "code", key: "code", word: true, show: (row) => text(names.codes[row.code]) },
    { name: "reworks", key: "reworks", number: true, show: (row) => count(row.reworks) },
    { name: "requests", key: "attempts", number: true, show: (row) => count(row.attempts) },
    { name: "tokens", key: "tokens", number: true, show: (row) => count(row.tokens) },
    { name: "cost", key: "micro_usd", number: true, show: (row) => money(row.micro_usd) },
    { name: "waited", key: "waited_ms", number: true, show: (row) => seconds(row.waited_ms / 1000) },
    { name: "time", key: "ms", number: true, show: (row) => seconds(row.ms === null ? null : row.ms / 1000) },
    { name: "artifact", key: "artifact", file: true, show: (row) => text(row.artifact) },
    { name: "source", key: "source", file: true, show: (row) => text(row.source) },
  ].filter((column) => column.key === "id" || columns[column.key].some((value) => value !== "" && value !== -1));
  const rows = columns.id.map((id, number) => {
    const row = { number };
    for (const key of Object.keys(columns)) row[key] = columns[key][number];
    row.words = [id, row.source, row.artifact, names.stages[row.stage], names.codes[row.code]].join("\n").toLowerCase();
    return row;
  });
  const state = { sort: null, down: false, outcome: null, page: 0, rows };

  function compare(one, other) {
    const column = described.find((any) => any.key === state.sort);
    const [left, right] = [one, other].map((row) => (column.number ? row[column.key] : column.show ? column.show(row) : row.id));
    if (left === null || right === null) return (left === null) - (right === null);
    return column.number ? left - right : left.localeCompare(right, "en", { numeric: true });
  }

  function select() {
    const wanted = filter.value.trim().toLowerCase();
    state.rows = rows.filter((row) => (state.outcome === null || row.outcome === state.outcome) && row.words.includes(wanted));
    if (state.sort !== null) {
      state.rows.sort((one, other) => (state.down ? compare(other, one) : compare(one, other)) || one.number - other.number);
    }
    state.page = 0;
    show();
  }

  function line(row) {
    const cells = described.map((column) => {
      if (column.key === "id") {
        const button = element("button", { type: "button", class: "open", "aria-expanded": "false" }, element("bdi", {}, row.id));
        button.addEventListener("click", () => toggle(button, row));
        return element("th", { scope: "row" }, button);
      }
      const value = column.show(row);
      if (column.key === "outcome") return element("td", {}, element("span", { class: `outcome ${value}` }, value));
      if (column.file) return element("td", { class: "file", title: value }, element("bdi", {}, value));
      return element("td", { class: column.number ? "n" : column.word ? "word" : "" }, element("bdi", {}, value));
    });
    return element("tr", { class: "row" }, ...cells);
  }

  function toggle(button, row) {
    const tr = button.closest("tr");
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) {
      tr.nextElementSibling.remove();
      return;
    }
    const width = Math.max(Math.min(table.parentElement.clientWidth, table.clientWidth) - 24, 560);
    const cell = element("td", { colspan: described.length }, waterfall(stories[row.number], width));
    tr.after(element("tr", { class: "detail" }, cell));
  }

  function show() {
    const first = state.page * PAGE;
    const last = Math.min(first + PAGE, state.rows.length);
    body.replaceChildren(...state.rows.slice(first, last).map(line));
    const all = state.rows.length === rows.length ? "" : ` (${count(rows.length)} in all)`;
    found.textContent = state.rows.length ? `${count(first + 1)} to ${count(last)} of ${count(state.rows.length)}${all}` : `none${all}`;
    previous.disabled = state.page === 0;
    next.disabled = last >= state.rows.length;
  }

  function turn(by) {
    state.page += by;
    show();
  }

  for (const column of described) {
    const button = element("button", { type: "button" }, column.name);
    const head = element("th", { scope: "col", "aria-sort": "none", class: column.number ? "n" : "" }, button);
    button.addEventListener("click", () => {
      state.down = state.sort === column.key ? !state.down : Boolean(column.number);
      state.sort = column.key;
      for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      select();
    });
    table.tHead.rows[0].append(head);
  }

  const chips = document.getElementById("outcomes");
  names.outcomes.forEach((name, number) => {
    const there = columns.outcome.filter((value) => value === number).length;
    if (!there || there === rows.length) return;
    const chip = element("button", { type: "button", "aria-pressed": "false" }, `${name} ${count(there)}`);
    chip.addEventListener("click", () => {
      state.outcome = state.outcome === number ? null : number;
      for (const other of chips.children) other.setAttribute("aria-pressed", String(other === chip && state.outcome !== null));
      select();
    });
    chips.append(chip);
  });

  filter.addEventListener("input", select);
  previous.addEventListener("click", () => turn(-1));
  next.addEventListener("click", () => turn(1));

  body.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by || !event.target.classList.contains("open")) return;
    const buttons = [...body.querySelectorAll("button.open")];
    const target = buttons[buttons.indexOf(event.target) + by];
    if (target) {
      event.preventDefault();
      target.focus();
    }
  });

  for (const button of document.querySelectorAll("button[data-find]")) {
    button.addEventListener("click", () => {
      const row = rows.find((one) => one.id === button.dataset.find);
      state.outcome = null;
      for (const chip of chips.children) chip.setAttribute("aria-pressed", "false");
      filter.value = button.dataset.find;
      select();
      const place = row ? state.rows.indexOf(row) : -1;
      if (place >= 0) {
        state.page = Math.floor(place / PAGE);
        show();
        const target = body.querySelectorAll("button.open")[place % PAGE];
        target.click();
        target.scrollIntoView({ block: "center" });
        target.focus({ preventScroll: true });
      }
    });
  }

  show();
  document.documentElement.dataset.ready = "true";
})();
