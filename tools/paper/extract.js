// The article of a page that stands as on paper, as XHTML that needs no script: formulas in MathML,
// what can be opened open, links to the pages of the book or to the published site.

// Where the letters of an alphabet begin in Unicode: A, a, and 0 where it has digits.
const ALPHABETS = {
  bold: [0x1d400, 0x1d41a, 0x1d7ce],
  italic: [0x1d434, 0x1d44e],
  "bold-italic": [0x1d468, 0x1d482],
  script: [0x1d49c, 0x1d4b6],
  "bold-script": [0x1d4d0, 0x1d4ea],
  fraktur: [0x1d504, 0x1d51e],
  "double-struck": [0x1d538, 0x1d552, 0x1d7d8],
  "sans-serif": [0x1d5a0, 0x1d5ba, 0x1d7e2],
  monospace: [0x1d670, 0x1d68a, 0x1d7f6],
};
// Letters that Unicode had before it had the alphabets.
const ELSEWHERE = {
  italic: { h: "ℎ" },
  script: {
    B: "ℬ", E: "ℰ", F: "ℱ", H: "ℋ", I: "ℐ", L: "ℒ", M: "ℳ", R: "ℛ", e: "ℯ", g: "ℊ", o: "ℴ",
  },
  fraktur: { C: "ℭ", H: "ℌ", I: "ℑ", R: "ℜ", Z: "ℨ" },
  "double-struck": { C: "ℂ", H: "ℍ", N: "ℕ", P: "ℙ", Q: "ℚ", R: "ℝ", Z: "ℤ" },
};
// Bold Greek: capitals from Α on, small letters from α on.
const GREEK = { bold: [0x1d6a8, 0x1d6c2], "bold-italic": [0x1d71c, 0x1d736] };

function lettered(text, variant) {
  const [capital, small, digit] = ALPHABETS[variant];
  const shift = (letter, first, to) => String.fromCodePoint(letter.codePointAt(0) - first + to);
  return [...text].map(letter => {
    if (ELSEWHERE[variant]?.[letter]) return ELSEWHERE[variant][letter];
    if (/[A-Z]/.test(letter)) return shift(letter, 0x41, capital);
    if (/[a-z]/.test(letter)) return shift(letter, 0x61, small);
    if (/[0-9]/.test(letter) && digit) return shift(letter, 0x30, digit);
    if (/[Α-Ω]/.test(letter) && GREEK[variant]) return shift(letter, 0x391, GREEK[variant][0]);
    if (/[α-ω]/.test(letter) && GREEK[variant]) return shift(letter, 0x3b1, GREEK[variant][1]);
    return letter;
  }).join("");
}

// MathML as readers know it: without what only MathJax reads, and with letters that are what they
// look like, since most readers ignore `mathvariant` and `columnalign`.
function mathml(formula) {
  const source = MathJax.startup.toMML(formula.root);
  const math = new DOMParser().parseFromString(source, "application/xml").documentElement;
  for (const element of [math, ...math.querySelectorAll("*")]) {
    // What stands around an operator depends on its part in TeX, not on its sign.
    const part = element.tagName === "mo" && element.getAttribute("data-mjx-texclass");
    if (part === "OPEN") element.setAttribute("form", "prefix");
    if (part === "CLOSE") element.setAttribute("form", "postfix");
    if (part === "ORD") {
      element.setAttribute("lspace", "0em");
      element.setAttribute("rspace", "0em");
    }
    for (const { name } of [...element.attributes])
      if (name.startsWith("data-") || name === "class" || name === "id")
        element.removeAttribute(name);
    const variant = element.getAttribute("mathvariant");
    if (ALPHABETS[variant] && !element.children.length) {
      element.textContent = lettered(element.textContent, variant);
      element.removeAttribute("mathvariant");
    }
  }
  for (const table of math.querySelectorAll("mtable[columnalign]")) {
    const sides = table.getAttribute("columnalign").trim().split(/\s+/);
    for (const row of table.children)
      [...row.children].forEach((cell, k) =>
        cell.setAttribute("style", `text-align: ${sides[Math.min(k, sides.length - 1)]}`));
  }
  math.setAttribute("alttext", formula.math.trim());
  return document.importNode(math, true);
}

({ site, published, names, name }) => {
  const article = document.querySelector("article");
  for (const formula of window.MathJax?.startup?.document?.math ?? [])
    if (article.contains(formula.typesetRoot)) formula.typesetRoot.replaceWith(mathml(formula));

  const drop = `script, style, button, input, select, .headerlink, .sd-summary-state-marker,
    details.hide, svg.narrow, .course-editions`;
  article.querySelectorAll(drop).forEach(part => part.remove());
  const rename = (element, tag, kind) => {
    const other = document.createElement(tag);
    other.append(...element.childNodes);
    if (element.id) other.id = element.id;
    other.className = kind;
    element.replaceWith(other);
  };
  article.querySelectorAll("summary").forEach(head => rename(head, "div", "opened-title"));
  article.querySelectorAll("details").forEach(box => rename(box, "div", "opened"));

  for (const link of article.querySelectorAll("a[href]")) {
    const address = new URL(link.getAttribute("href"), document.baseURI).href;
    if (!address.startsWith(site)) continue;
    const [path, anchor] = address.slice(site.length).split("#");
    const target = names[path.replace(/\.html$/, "")];
    const place = anchor ? `#${anchor}` : "";
    link.setAttribute("href", target ? `${target}.xhtml${place}` : `${published}${path}${place}`);
  }

  const images = [];
  for (const image of article.querySelectorAll("img")) {
    const kind = /^data:image\/(\w+)|\.(\w+)$/.exec(image.src);
    const file = `images/${name}-${images.length + 1}.${kind[1] ?? kind[2]}`;
    images.push([file, image.src]);
    image.setAttribute("src", file);
  }

  const kept = /^(id|class|href|src|alt|title|colspan|rowspan|start|lang|xmlns)$/;
  for (const element of [article, ...article.querySelectorAll("*:not(svg, svg *, math, math *)")])
    for (const attribute of [...element.attributes])
      if (!kept.test(attribute.name)) element.removeAttribute(attribute.name);
  for (const element of article.querySelectorAll("svg, svg *"))
    for (const attribute of [...element.attributes])
      if (/^(data-|aria-|role|focusable|tabindex)/.test(attribute.name))
        element.removeAttribute(attribute.name);

  // A name is one place's: the theme gives some to every statement.
  const seen = new Set();
  for (const element of article.querySelectorAll("[id]")) {
    if (seen.has(element.id)) element.removeAttribute("id");
    seen.add(element.id);
  }

  return { content: new XMLSerializer().serializeToString(article), images };
};
