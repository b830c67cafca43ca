// Pointing at a reference, or focusing it, shows what it refers to; Escape closes it. The first tap
// of a finger shows it, the second follows. What is shown comes from scripts that the build has
// written (book/_ext/previews.py): a page that is opened from a disk may load nothing else.
(() => {
  const ROOT = new URL(document.documentElement.dataset.content_root, location.href);
  const REFERENCES = "article a.reference.internal[href*='#']";
  const WAIT = 150; // milliseconds: whoever passes over a reference does not ask for it
  const MARGIN = 8; // pixels

  // The previews of each page, by their anchors, as they arrive.
  const pages = new Map();
  window.showPreviews = (page, previews) => pages.get(page).resolve(previews);

  function previews(page) {
    if (!pages.has(page)) {
      const waiting = Promise.withResolvers?.() ?? {};
      waiting.promise ??= new Promise(resolve => { waiting.resolve = resolve; });
      pages.set(page, waiting);
      const script = document.createElement("script");
      script.src = new URL(`previews/${page.replace(/html$/, "js")}`, ROOT);
      script.onerror = () => waiting.resolve({});
      document.head.append(script);
    }
    return pages.get(page).promise;
  }

  async function preview(link) {
    const target = new URL(link.href);
    if (!target.pathname.startsWith(ROOT.pathname)) return undefined;
    const page = target.pathname.slice(ROOT.pathname.length);
    return (await previews(page))[decodeURIComponent(target.hash.slice(1))];
  }

  const box = document.createElement("div");
  box.id = "course-preview";
  box.className = "bd-article";
  box.setAttribute("role", "tooltip");
  box.hidden = true;
  let asked; // the reference that a preview is wanted of
  let timer;

  function close() {
    clearTimeout(timer);
    asked?.removeAttribute("aria-describedby");
    asked = undefined;
    box.hidden = true;
  }

  function soon(action) {
    clearTimeout(timer);
    timer = setTimeout(action, WAIT);
  }

  // True if there is something to show.
  async function open(link) {
    if (link === asked) return !box.hidden;
    close();
    asked = link;
    const content = await preview(link);
    if (link !== asked || !content) return false;
    box.innerHTML = content;
    for (const image of box.querySelectorAll("img")) {
      image.src = new URL(image.getAttribute("src"), ROOT);
    }
    box.hidden = false;
    box.scrollTop = 0;
    link.setAttribute("aria-describedby", box.id);
    link.removeAttribute("title"); // the browser's own, shorter preview
    place(link);
    await window.MathJax?.startup?.promise;
    await window.MathJax?.typesetPromise?.([box]);
    if (link === asked) place(link);
    return true;
  }

  // Below the reference or above it, wherever there is more room, and within the window.
  function place(link) {
    const lines = [...link.getClientRects()];
    const below = innerHeight - lines.at(-1).bottom;
    const above = lines[0].top;
    box.style.maxHeight = `${Math.max(below, above) - 2 * MARGIN}px`;
    const { width, height } = box.getBoundingClientRect();
    const under = below >= above || height <= below - 2 * MARGIN;
    const top = under ? lines.at(-1).bottom + MARGIN : above - MARGIN - height;
    const edge = document.documentElement.clientWidth - MARGIN - width;
    box.style.top = `${top + scrollY}px`;
    box.style.left = `${Math.max(MARGIN, Math.min(lines.at(-1).left, edge)) + scrollX}px`;
  }

  const reference = event => event.target.closest?.(REFERENCES);
  const inside = event => event.target.closest?.("#course-preview");
  let finger = false;
  document.addEventListener("pointerdown", event => {
    finger = event.pointerType === "touch";
    if (finger && !reference(event) && !inside(event)) close();
  });
  document.addEventListener("pointerover", event => {
    if (event.pointerType === "touch") return;
    const link = reference(event);
    if (link) soon(() => open(link));
    else if (inside(event)) clearTimeout(timer);
    else if (asked !== document.activeElement) soon(close);
  });
  document.addEventListener("focusin", event => {
    const link = reference(event);
    if (link?.matches(":focus-visible")) open(link);
  });
  document.addEventListener("focusout", event => {
    if (event.target === asked) close();
  });
  document.addEventListener("click", async event => {
    const link = reference(event);
    if (!link || !finger || (link === asked && !box.hidden)) return;
    event.preventDefault();
    if (!await open(link)) location.assign(link.href);
  });
  document.addEventListener("keydown", event => {
    if (event.key === "Escape" && asked) close();
    // What is longer than its box can be read on without leaving the reference.
    const down = { ArrowDown: 40, ArrowUp: -40 }[event.key];
    if (down && !box.hidden && event.target === asked && box.scrollHeight > box.clientHeight) {
      box.scrollBy(0, down);
      event.preventDefault();
    }
  });
  document.addEventListener("DOMContentLoaded", () => document.body.append(box));
  addEventListener("resize", close);
})();
