// Paper is white, and shows what a screen would on a click: every proof, hint and solution.
window.addEventListener("beforeprint", () => {
  const page = document.documentElement;
  page.dataset.themeAfterPrint ??= page.dataset.theme;
  page.dataset.theme = "light";
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    details.dataset.closeAfterPrint = "";
  }
});
window.addEventListener("afterprint", () => {
  const page = document.documentElement;
  page.dataset.theme = page.dataset.themeAfterPrint ?? page.dataset.theme;
  delete page.dataset.themeAfterPrint;
  for (const details of document.querySelectorAll("details[data-close-after-print]")) {
    details.open = false;
    delete details.dataset.closeAfterPrint;
  }
});

// True if there was something to open.
function openAround(element) {
  let opened = false;
  for (let box = element.closest("details"); box; box = box.parentElement.closest("details")) {
    opened ||= !box.open;
    box.open = true;
  }
  return opened;
}

// A link to what is closed, or to something in it, opens it.
function reveal(hash) {
  const target = hash.length > 1 && document.getElementById(decodeURIComponent(hash.slice(1)));
  if (!target) return;
  if (openAround(target)) target.scrollIntoView();
}
document.addEventListener("DOMContentLoaded", () => {
  reveal(location.hash);
  // The search marks its words on the page that it leads to, 10 ms after it is told to: this theme
  // loads the search on every page, where Sphinx then takes each for the page of the search itself.
  if (!document.querySelector("#search-results")) SphinxHighlight.highlightSearchWords();
  // Of the words those in the section arrived at are shown, or the first.
  setTimeout(() => {
    const words = [...document.querySelectorAll("article .highlighted")];
    const place = document.querySelector(":target");
    const here = words.filter(word => place?.contains(word));
    const shown = here.length ? here : words.slice(0, 1);
    shown.forEach(openAround);
    // A page as a whole was the hit: the first of its words is what was looked for.
    if (!location.hash && shown.length) {
      const show = () => shown[0].scrollIntoView({ block: "center" });
      (window.MathJax?.startup?.promise ?? Promise.resolve()).then(show);
    }
  }, 50);
  // After a search the keyboard goes on at what was found.
  const results = document.querySelector("#search-results");
  if (results && location.search) {
    results.tabIndex = -1;
    results.focus();
  }
});
window.addEventListener("hashchange", () => reveal(location.hash));
// The same link clicked once more changes no address. In a drawer it has done its work.
document.addEventListener("click", event => {
  const link = event.target.closest("a[href]");
  if (link?.hash) link.closest("dialog.bd-sidebar, dialog[id$=sidebar-modal]")?.close();
  if (link?.hash && link.href === location.href) reveal(link.hash);
});

// Where a box goes on at its right, it fades.
const FADING = "div.cell_output pre, div.highlight pre, .course-wide, .pst-scrollable-table-container";
function fade(box) {
  const left = box.scrollWidth - box.clientWidth - box.scrollLeft;
  box.classList.toggle("course-goes-on", left > 1);
}
document.addEventListener("scroll", event => {
  if (event.target.matches?.(FADING)) fade(event.target);
}, { capture: true, passive: true });

// Frames of several panels scroll where the page is too narrow for them, as such figures do.
// The landing page's has one panel, and shows all of it.
document.addEventListener("DOMContentLoaded", () => {
  for (const frame of document.querySelectorAll(".cell_output .ntk-player .ntk-frame:first-of-type")) {
    if (Number(frame.getAttribute("width")) <= 600) continue;
    const player = frame.closest(".ntk-player");
    const box = document.createElement("div");
    box.className = "course-wide";
    box.append(...player.querySelectorAll(".ntk-frame"));
    player.prepend(box);
  }
});

// A formula in a line that is longer than the line scrolls in its own box.
function boxLongFormulas() {
  for (const formula of document.querySelectorAll("article mjx-container:not([display], table *)")) {
    const around = formula.closest("p, li, dd, summary, figcaption, h1, h2, h3");
    if (!around?.clientWidth) continue;
    const { paddingLeft, paddingRight } = getComputedStyle(around);
    const room = around.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
    const long = formula.firstElementChild.getBoundingClientRect().width > room;
    formula.classList.toggle("course-long", long);
  }
}

// A box that scrolls must be reachable from the keyboard, and no other.
const BOXES = "mjx-container[display=true], mjx-container.course-long, div.cell_output pre, div.highlight pre, .course-table, .course-wide, .pst-scrollable-table-container";
function reach() {
  boxLongFormulas();
  for (const box of document.querySelectorAll(BOXES)) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
    if (box.matches(FADING)) fade(box);
  }
}
window.addEventListener("load", () => {
  reach();
  window.MathJax?.startup?.promise.then(reach);
});
window.addEventListener("resize", reach);
// What is closed has no width before it is opened.
document.addEventListener("toggle", reach, true);

// In the graph of statements, a box that is pointed at or focused shows its lines.
document.addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll(".course-graph a[data-key]")) {
    const lines = [...box.closest("svg").querySelectorAll(".edge")]
      .filter(line => line.dataset.ends.split(" ").includes(box.dataset.key));
    const show = shown => () => lines.forEach(line => line.classList.toggle("pointed", shown));
    for (const event of ["mouseenter", "focus"]) box.addEventListener(event, show(true));
    for (const event of ["mouseleave", "blur"]) box.addEventListener(event, show(false));
  }
});
