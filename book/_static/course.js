// Paper shows what a screen would on a click: every proof, hint and solution.
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    details.dataset.closeAfterPrint = "";
  }
});
window.addEventListener("afterprint", () => {
  for (const details of document.querySelectorAll("details[data-close-after-print]")) {
    details.open = false;
    delete details.dataset.closeAfterPrint;
  }
});

// A link to what is closed, or to something in it, opens it.
function reveal(hash) {
  const target = hash.length > 1 && document.getElementById(decodeURIComponent(hash.slice(1)));
  if (!target) return;
  let opened = false;
  for (let box = target.closest("details"); box; box = box.parentElement.closest("details")) {
    opened ||= !box.open;
    box.open = true;
  }
  if (opened) target.scrollIntoView();
}
document.addEventListener("DOMContentLoaded", () => reveal(location.hash));
window.addEventListener("hashchange", () => reveal(location.hash));
// The same link clicked once more changes no address.
document.addEventListener("click", event => {
  const link = event.target.closest("a[href]");
  if (link?.hash && link.href === location.href) reveal(link.hash);
});

// A box that scrolls must be reachable from the keyboard, and no other.
const BOXES = "mjx-container[display=true], div.cell_output pre, div.highlight pre, .course-table, .pst-scrollable-table-container";
function reach() {
  for (const box of document.querySelectorAll(BOXES)) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
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
