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

// A box that scrolls must be reachable from the keyboard.
document.addEventListener("DOMContentLoaded", () => {
  const boxes = "div.cell_output pre, div.highlight pre, .course-table, .pst-scrollable-table-container";
  for (const box of document.querySelectorAll(boxes)) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
});
