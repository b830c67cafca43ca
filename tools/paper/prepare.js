// Makes of a page of the site what stands on paper, and tells what it is made of.

// How many frames of a player are shown.
const FRAMES = 6;

const settled = async () => {
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  await Promise.allSettled([...document.querySelectorAll("article img")].map(image => {
    image.loading = "eager";
    return image.decode();
  }));
};

// The places of the frames that are shown: of one handle at equal steps; of several the ends and the
// middle of the first, which varies fastest, at the beginning and in the middle of the second.
function places(counts) {
  const [first, second] = counts;
  if (!second) {
    const shown = Math.min(FRAMES, first);
    const step = shown > 1 ? (first - 1) / (shown - 1) : 0;
    return Array.from({ length: shown }, (_, k) => Math.round(k * step));
  }
  const middle = count => Math.floor(count / 2);
  const rows = new Set([0, middle(second)]);
  const columns = new Set([0, middle(first), first - 1]);
  return [...rows].flatMap(row => [...columns].map(column => row * first + column));
}

// Frames of a player side by side, each over the values of its handles.
function layOut(player) {
  const frames = [...player.querySelectorAll(".ntk-frame")];
  const handles = [...player.querySelectorAll(".ntk-controls :is(input, select)")];
  const counts = handles.map(handle => JSON.parse(handle.dataset.texts).length);
  const chosen = places(counts);
  const sheet = document.createElement("div");
  sheet.className = "course-frames";
  for (const place of chosen) {
    const figure = document.createElement("figure");
    const frame = frames[place].cloneNode();
    frame.hidden = false;
    const label = document.createElement("figcaption");
    label.textContent = frame.alt;
    figure.append(frame, label);
    sheet.append(figure);
  }
  frames.forEach(frame => frame.remove());
  player.prepend(sheet);
  player.style.maxWidth = "none";
  player.querySelectorAll(".ntk-controls, script, style").forEach(part => part.remove());
}

// What is too wide gets smaller letters. What is too wide even so is a fault.
function fit(article) {
  const scale = (element, ratio) => {
    const style = getComputedStyle(element);
    element.style.fontSize = `${parseFloat(style.fontSize) * ratio}px`;
  };
  let smallest = 1;
  for (const box of article.querySelectorAll("mjx-container")) {
    const math = box.firstElementChild;
    const displayed = box.getAttribute("display") === "true";
    const around = displayed ? box : box.closest("p, li, td, dd, h1, h2, h3, figcaption, div");
    const ratio = around.clientWidth / math.getBoundingClientRect().width;
    if (ratio < 1 && around.clientWidth) {
      scale(box, ratio * 0.99);
      smallest = Math.min(smallest, ratio);
    }
  }
  for (const table of article.querySelectorAll("table")) {
    for (let k = 0; k < 12; k++) {
      const room = table.parentElement.getBoundingClientRect().right;
      if (table.getBoundingClientRect().right <= room + 1) break;
      scale(table, 0.93);
    }
  }
  return smallest;
}

function tooWide(article) {
  const { left, right } = article.getBoundingClientRect();
  const wide = [...article.querySelectorAll("*:not(svg *, mjx-assistive-mml, mjx-assistive-mml *)")].filter(element => {
    const box = element.getBoundingClientRect();
    return box.width && (box.right > right + 1 || box.left < left - 1);
  });
  return wide
    .filter(element => !wide.some(other => other !== element && element.contains(other)))
    .map(element => `${element.tagName} ${element.textContent.trim().slice(0, 60)}`);
}

// A PDF knows a place by a link to it from its own page.
function nameEveryPlace(article) {
  const links = document.createElement("div");
  links.hidden = true;
  for (const element of article.querySelectorAll("[id]:not(mjx-container *, svg *)")) {
    const link = document.createElement("a");
    link.href = `#${element.id}`;
    links.append(link);
  }
  document.body.append(links);
}

function texOf() {
  const formulas = [...(window.MathJax?.startup?.document?.math ?? [])];
  return new Map(formulas.map(formula => [formula.typesetRoot, formula.math]));
}

// The headings, with TeX for formulas, and where they stand.
function headings(article) {
  const tex = texOf();
  const text = node => {
    if (tex.has(node)) return `\\(${tex.get(node)}\\)`;
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    if (node.matches?.(".headerlink")) return "";
    return [...node.childNodes].map(text).join("");
  };
  return [...article.querySelectorAll("h1, h2, h3")].map(heading => ({
    level: Number(heading.tagName[1]),
    text: text(heading).replace(/\s+/g, " ").trim(),
    place: heading.closest("section")?.id ?? "",
  }));
}

async () => {
  await settled();
  // As before any printing: light, and open.
  window.dispatchEvent(new Event("beforeprint"));
  const article = document.querySelector("article");
  article.querySelectorAll(".ntk-player").forEach(layOut);
  await settled();
  const smallest = fit(article);
  nameEveryPlace(article);
  return { headings: headings(article), smallest, wide: tooWide(article) };
};
