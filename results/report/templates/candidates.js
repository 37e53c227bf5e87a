(() => {
  const data = JSON.parse(document.getElementById("candidates-data").textContent);
  const [RANK, LAYERS, POOLING, CLASSIFIER, PARAMETERS, SCORES] = [0, 1, 2, 3, 4, 5];
  const plain = { rank: RANK, pooling: POOLING, classifier: CLASSIFIER };
  const order = { key: "rank", descending: false };

  const score = (row, split, language) => row[SCORES + data.splits.indexOf(split) * data.languages.length + data.languages.indexOf(language)];
  const percent = (value) => (value === null ? "\u2013" : (value * 100).toFixed(1));
  const points = (value) => {
    const text = Math.abs(value * 100).toFixed(1);
    if (text === "0.0") return text;
    return (value < 0 ? "\u2212" : "+") + text;
  };

  function compare(a, b, language) {
    if (order.key === "layers") {
      const [x, y] = [a, b].map((row) => row[LAYERS].split("+").map(Number));
      const at = x.findIndex((layer, place) => layer !== y[place]);
      return x.length - y.length || (at < 0 ? 0 : x[at] - y[at]);
    }
    const [x, y] = [a, b].map((row) => (order.key in plain ? row[plain[order.key]] : score(row, order.key, language)));
    return x === y ? 0 : x === null || x < y ? -1 : 1;
  }

  function chosen(wanted) {
    const layers = wanted.layers.value.match(/\d+/g) || [];
    const rows = data.rows.filter((row) => {
      const own = row[LAYERS].split("+");
      return layers.every((layer) => own.includes(layer))
        && (!wanted.size.value || own.length === Number(wanted.size.value))
        && (!wanted.pooling.value || row[POOLING] === wanted.pooling.value)
        && (!wanted.classifier.value || row[CLASSIFIER] === wanted.classifier.value);
    });
    const sign = order.descending ? -1 : 1;
    return rows.sort((a, b) => sign * compare(a, b, wanted.language.value) || a[RANK] - b[RANK]);
  }

  function scored(line, row, split, language) {
    const cell = add(line, "td", "", "n");
    add(cell, "span", percent(score(row, split, language)), "strong");
    const beside = ((data.beside[row[RANK]] || {})[language] || {})[split];
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

  function line(row, wanted) {
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
    data.splits.forEach((split) => scored(element, row, split, wanted.language.value));
    return element;
  }

  function shown(table, form) {
    if (form.elements.language.selectedIndex > 0) form.classList.add("used");
    document.getElementById("candidates-standings").textContent = data.standings[form.elements.language.value] || "";
    for (const heading of table.querySelectorAll("[data-sort]")) {
      if (heading.dataset.sort === order.key) heading.setAttribute("aria-sort", order.descending ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
    }
  }

  const again = paged({ name: "candidates", noun: "candidate", data, chosen, line, shown });
  for (const heading of document.querySelectorAll("#candidates-table [data-sort]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const key = heading.dataset.sort;
      order.descending = order.key === key ? !order.descending : data.splits.includes(key);
      order.key = key;
      again();
    });
  }
  again();
})();
