// Elements, and a table of many rows whose filter and pages work by keys; the page's own rows stand without it.
const add = (parent, name, text, style) => {
  const element = document.createElement(name);
  element.textContent = text;
  if (style) element.className = style;
  parent.append(element);
  return element;
};

function paged({ name, noun, data, chosen, line, shown = () => {} }) {
  const [table, form, status, pages] = ["table", "filter", "status", "pages"].map((part) => document.getElementById(`${name}-${part}`));
  const [previous, next] = pages.querySelectorAll("button");
  const count = (n) => n.toLocaleString("en");
  let page = 0;

  function show() {
    const rows = chosen(form.elements);
    const last = Math.max(0, Math.ceil(rows.length / data.shown) - 1);
    page = Math.min(Math.max(page, 0), last);
    const first = page * data.shown;
    const some = rows.slice(first, first + data.shown);
    table.tBodies[0].replaceChildren(...some.map((row) => line(row, form.elements)));
    const fewer = rows.length < data.rows.length;
    status.textContent = some.length
      ? `${count(first + 1)} to ${count(first + some.length)} of ${count(rows.length)} ${noun}s${fewer ? ` that fit, of ${count(data.rows.length)}` : ""}.`
      : `No ${noun} fits; choose less.`;
    // a disabled button would drop the focus of whoever just pressed it
    previous.setAttribute("aria-disabled", page === 0);
    next.setAttribute("aria-disabled", page === last);
    form.classList.toggle("used", fewer);
    shown(table, form);
  }

  const again = () => { page = 0; show(); };
  form.addEventListener("input", again);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.querySelector("button").addEventListener("click", () => { form.reset(); again(); });
  for (const button of [previous, next]) {
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-disabled") === "true") return;
      page += Number(button.dataset.step);
      show();
      table.scrollIntoView({ block: "nearest" });
      button.scrollIntoView({ block: "nearest" }); // of a table higher than the window, the button is what is used next
    });
  }
  form.hidden = pages.hidden = false;
  return again;
}
