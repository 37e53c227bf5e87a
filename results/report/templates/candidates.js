(() => {
  const data = JSON.parse(document.getElementById("candidate-data").textContent);
  const table = document.getElementById("candidate-table");
  const form = document.getElementById("candidate-filter");
  const status = document.getElementById("candidate-status");
  const pages = document.getElementById("candidate-pages");
  const [RANK, LAYERS, POOLING, CLASSIFIER, PARAMETERS, SCORES] = [0, 1, 2, 3, 4, 5];
  const plain = { rank: RANK, pooling: POOLING, classifier: CLASSIFIER };
  const order = { key: "rank", descending: false };
  let page = 0;

  const score = (row, split) => {
    const at = data.languages.indexOf(form.elements.language.value);
    return row[SCORES + data.splits.indexOf(split) * data.languages.length + at];
  };
  const percent = (value) => (value === null ? "\u2013" : (value * 100).toFixed(1));
  const points = (value) => {
    const text = Math.abs(value * 100).toFixed(1);
    if (text === "0.0") return text;
    return (value < 0 ? "\u2212" : "+") + text;
  };
  const add = (parent, name, text, style) => {
    const element = document.createElement(name);
    element.textContent = text;
    if (style) element.className = style;
    parent.append(element);
    return element;
  };

  function compare(a, b) {
    if (order.key === "layers") {
      const [x, y] = [a, b].map((row) => row[LAYERS].split("+").map(Number));
      const at = x.findIndex((layer, place) => layer !== y[place]);
      return x.length - y.length || (at < 0 ? 0 : x[at] - y[at]);
    }
    const [x, y] = order.key in plain ? [a[plain[order.key]], b[plain[order.key]]] : [score(a, order.key), score(b, order.key)];
    return x === y ? 0 : x === null || x < y ? -1 : 1;
  }

  function chosen() {
    const wanted = form.elements;
    const layers = wanted.layers.value.match(/\d+/g) || [];
    const rows = data.rows.filter((row) => {
      const own = row[LAYERS].split("+");
      return layers.every((layer) => own.includes(layer))
        && (!wanted.size.value || own.length === Number(wanted.size.value))
        && (!wanted.pooling.value || row[POOLING] === wanted.pooling.value)
        && (!wanted.classifier.value || row[CLASSIFIER] === wanted.classifier.value);
    });
    const sign = order.descending ? -1 : 1;
    return rows.sort((a, b) => sign * compare(a, b) || a[RANK] - b[RANK]);
  }

  function scored(line, row, split) {
    const cell = add(line, "td", "", "n");
    add(cell, "span", percent(score(row, split)), "strong");
    const beside = ((data.beside[row[RANK]] || {})[form.elements.language.value] || {})[split];
    if (row[RANK] === 1) {
      cell.append(" ");
      add(cell, "span", "winner", "tag");
    } else if (beside) {
      cell.append(" ");
      add(cell, "span", points(beside[0]), "nowrap");
      cell.append(" ");
      add(cell, "span", `[${points(beside[1])}, ${points(beside[2])}]`, "interval nowrap");
      cell.append(" ");
      add(cell, "span", beside[3], "tag");
    }
  }

  function line(row) {
    const element = document.createElement("tr");
    add(element, "td", row[RANK], "n");
    const layers = add(element, "th", "");
    layers.scope = "row";
    row[LAYERS].split("+").forEach((layer, at) => layers.append(...(at ? ["+", document.createElement("wbr")] : []), layer));
    add(element, "td", row[POOLING]);
    const classifier = add(element, "td", row[CLASSIFIER].replaceAll("_", " "));
    if (row[PARAMETERS]) {
      classifier.append(" ");
      add(classifier, "span", row[PARAMETERS], "sd");
    }
    data.splits.forEach((split) => scored(element, row, split));
    return element;
  }

  function show() {
    const rows = chosen();
    const last = Math.max(0, Math.ceil(rows.length / data.shown) - 1);
    page = Math.min(Math.max(page, 0), last);
    const first = page * data.shown;
    const shown = rows.slice(first, first + data.shown);
    table.tBodies[0].replaceChildren(...shown.map(line));
    const count = (n) => n.toLocaleString("en");
    status.textContent = shown.length
      ? `${count(first + 1)} to ${count(first + shown.length)} of ${count(rows.length)} candidates${rows.length < data.rows.length ? ` that fit, of ${count(data.rows.length)}` : ""}.`
      : "No candidate fits; choose less.";
    const [previous, next] = pages.querySelectorAll("button");
    // a disabled button would drop the focus of whoever just pressed it
    previous.setAttribute("aria-disabled", page === 0);
    next.setAttribute("aria-disabled", page === last);
    form.classList.toggle("used", rows.length < data.rows.length || form.elements.language.selectedIndex > 0);
    for (const heading of table.querySelectorAll("[data-sort]")) {
      if (heading.dataset.sort === order.key) heading.setAttribute("aria-sort", order.descending ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
    }
  }

  for (const heading of table.querySelectorAll("[data-sort]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const key = heading.dataset.sort;
      order.descending = order.key === key ? !order.descending : data.splits.includes(key);
      order.key = key;
      page = 0;
      show();
    });
  }
  form.addEventListener("input", () => { page = 0; show(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.querySelector("button").addEventListener("click", () => { form.reset(); page = 0; show(); });
  for (const button of pages.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-disabled") === "true") return;
      page += Number(button.dataset.step);
      show();
      table.scrollIntoView({ block: "nearest" });
    });
  }
  form.hidden = pages.hidden = false;
  show();
})();
