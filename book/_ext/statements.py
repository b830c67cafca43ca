"""What rests on what: the statements of the pages, and which of them name which others.

A statement uses what its block names by `{prf:ref}`, and its proof uses what the dropdown *Proof*
after it names. An equation that stands in a statement or in its proof stands for that statement
where `{eq}` names it. References in running text do not count.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx_exercise.nodes import exercise_enumerable_node, exercise_node
from sphinx_proof.nodes import NODE_TYPES

#: What is claimed, and so is proved and checked; the other kinds of statements agree on words.
CLAIMS = ("theorem", "proposition", "lemma", "corollary")
#: How a statement uses another: itself, or only its proof.
STATEMENT, PROOF = "statement", "proof"

_STATEMENTS = tuple(NODE_TYPES.values())
_EXERCISES = (exercise_node, exercise_enumerable_node)


@dataclass(frozen=True)
class Statement:
    """A statement as it stands on its page; labels of what it names are not resolved yet."""

    label: str
    kind: str
    title: str
    docname: str
    names: frozenset[str] = frozenset()
    proof_names: frozenset[str] = frozenset()
    equations: frozenset[str] = frozenset()
    proved: bool = False

    @property
    def claims(self) -> bool:
        """Whether it is something to prove and to check."""
        return self.kind in CLAIMS


@dataclass(frozen=True)
class Page:
    """What one page says: its statements in their order, and what its other parts name.

    Attributes:
        statements: in their order.
        in_exercises: what the exercises name.
        named: all that the page names.
        loose_proofs: titles of proofs that no statement stands before.
        shows_graph: whether the page shows what is made of all pages.
    """

    statements: tuple[Statement, ...] = ()
    in_exercises: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    loose_proofs: tuple[str, ...] = ()
    shows_graph: bool = False


def read_page(document: nodes.document, docname: str) -> Page:
    """Collect a page's statements from its document as it was read, references unresolved."""
    statements: list[Statement] = []
    loose_proofs: list[str] = []
    in_exercises: set[str] = set()
    for node in document.findall(nodes.Element):
        if isinstance(node, _STATEMENTS):
            statements.append(_statement(node, docname))
        elif isinstance(node, _EXERCISES):
            in_exercises |= _names(node)
        elif _is_proof(node):
            place = next(
                (k for k in reversed(range(len(statements))) if statements[k].claims), None
            )
            if place is None:
                loose_proofs.append(node.children[0].astext())
            else:
                statements[place] = _with_proof(statements[place], node)
    return Page(
        tuple(statements), frozenset(in_exercises), frozenset(_names(document)), tuple(loose_proofs)
    )


def _statement(node: nodes.Element, docname: str) -> Statement:
    title = nodes.title("", "", *(child.deepcopy() for child in node.children[0].children))
    for formula in list(title.findall(nodes.math)):
        formula.replace_self(nodes.Text(plain(formula.astext())))
    text = title.astext().strip()
    return Statement(
        label=node["label"],
        kind=node["realtype"],
        title=text.removeprefix("(").removesuffix(")") if text.startswith("(") else text,
        docname=docname,
        names=frozenset(_names(node)),
        equations=frozenset(_equations(node)),
    )


def _with_proof(statement: Statement, proof: nodes.Element) -> Statement:
    return Statement(
        **{
            **vars(statement),
            "proof_names": statement.proof_names | _names(proof),
            "equations": statement.equations | set(_equations(proof)),
            "proved": True,
        }
    )


def _is_proof(node: nodes.Element) -> bool:
    return (
        node.get("design_component") == "dropdown"
        and isinstance(node.children[0], nodes.rubric)
        and node.children[0].astext().startswith("Proof")
    )


def _names(node: nodes.Element) -> set[str]:
    """Labels of the statements and of the equations that are named in a node."""
    kinds = {("prf", "ref"), ("math", "eq")}
    return {
        reference["reftarget"]
        for reference in node.findall(pending_xref)
        if (reference["refdomain"], reference["reftype"]) in kinds
    }


def _equations(node: nodes.Element) -> Iterator[str]:
    return (block["label"] for block in node.findall(nodes.math_block) if block.get("label"))


_SIGNS = {
    **{"mathcal": "", "mathrm": "", "operatorname": "", "infty": "∞", "sqrt": "√", "to": "→"},
    **{"le": "≤", "ge": "≥", "ne": "≠", "cdot": "·", "times": "×", "R": "ℝ", "E": "E", "N": "N"},
    **{"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "varepsilon": "ε", "epsilon": "ε"},
    **{"eta": "η", "theta": "θ", "Theta": "Θ", "kappa": "κ", "lambda": "λ", "mu": "μ", "rho": "ρ"},
    **{"sigma": "σ", "Sigma": "Σ", "tau": "τ", "phi": "φ", "varphi": "φ", "chi": "χ", "psi": "ψ"},
}
_BARS = {"abs": "|", "norm": "‖"}
_RAISED = str.maketrans("0123456789+-n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ")
_LOWERED = str.maketrans("0123456789+-", "₀₁₂₃₄₅₆₇₈₉₊₋")


def _braced(tex: str, start: int) -> str:
    """What stands between the brace at `start` and the one that closes it."""
    depth = 0
    for place in range(start, len(tex)):
        depth += {"{": 1, "}": -1}.get(tex[place], 0)
        if depth == 0:
            return tex[start + 1 : place]
    return tex[start + 1 :]


def plain(tex: str) -> str:
    r"""A short formula in Unicode, for text that cannot be typeset: `O(B^2)` becomes O(B²)."""
    text, place = "", 0
    while place < len(tex):
        sign = tex[place]
        place += 1
        if sign == "\\":
            start = place
            while place < len(tex) and tex[place].isalpha():
                place += 1
            name = tex[start:place]
            if name in _BARS and tex[place : place + 1] == "{":
                inside = _braced(tex, place)
                text += _BARS[name] + plain(inside) + _BARS[name]
                place += len(inside) + 2
                continue
            text += _SIGNS.get(name, name)
            if name:
                place += len(tex[place:]) - len(tex[place:].lstrip())
        elif sign in "^_" and place < len(tex):
            end = tex.find("}", place) if tex[place] == "{" else place
            script = plain(tex[place : end + 1]) if tex[place] != "\\" else ""
            table = _RAISED if sign == "^" else _LOWERED
            raised = script.translate(table)
            if script:
                place = end + 1
            text += raised if all(ord(letter) in table for letter in script) else script
        elif sign not in "{}":
            text += sign
    return text


@dataclass(frozen=True)
class Marks:
    """What the ledger and the errata say about a statement."""

    checks: tuple[str, ...] = ()
    loose: bool = False
    sampled: bool = False
    differs: bool = False
    exercise: bool = False


@dataclass(frozen=True)
class Graph:
    """The statements in the order of the book, and how each uses others.

    Attributes:
        statements: by label.
        uses: for each label, the labels that it uses, each with `STATEMENT` or `PROOF`.
        marks: for each label.
    """

    statements: Mapping[str, Statement]
    uses: Mapping[str, Mapping[str, str]]
    marks: Mapping[str, Marks] = field(default_factory=dict)

    @property
    def edges(self) -> list[tuple[str, str]]:
        """Pairs of a label and one that uses it."""
        return [(used, label) for label, uses in self.uses.items() for used in uses]

    def used_by(self, label: str) -> list[str]:
        """The labels that use this one, in the order of the book."""
        return [other for other, uses in self.uses.items() if label in uses]

    def below(self, label: str) -> set[str]:
        """All that a statement rests on, near and far."""
        found: set[str] = set()
        waiting = [*self.uses[label]]
        while waiting:
            used = waiting.pop()
            if used not in found:
                found.add(used)
                waiting += self.uses[used]
        return found

    def checked(self, label: str) -> bool:
        """Whether the ledger checks it; what claims nothing needs no check."""
        return not self.statements[label].claims or bool(self.marks[label].checks)

    def checked_below(self, label: str) -> bool:
        """Whether it is checked, and so is everything that it rests on."""
        return self.checked(label) and all(map(self.checked, self.below(label)))

    @property
    def backward(self) -> list[tuple[str, str]]:
        """Edges from a page to an earlier one: nothing rests on what comes in a later chapter."""
        pages = list(dict.fromkeys(item.docname for item in self.statements.values()))
        place = {label: pages.index(item.docname) for label, item in self.statements.items()}
        return [(used, label) for used, label in self.edges if place[used] > place[label]]


def connect(pages: Iterable[Page]) -> Graph:
    """Resolve what the statements of the pages, in the order of the book, name."""
    statements = {item.label: item for page in pages for item in page.statements}
    home = {equation: item.label for item in statements.values() for equation in item.equations}

    def resolved(names: Iterable[str], label: str) -> set[str]:
        found = {home.get(name, name) for name in names}
        return {name for name in found if name in statements and name != label}

    uses = {}
    for label, item in statements.items():
        proof = dict.fromkeys(resolved(item.proof_names, label), PROOF)
        both = proof | dict.fromkeys(resolved(item.names, label), STATEMENT)
        uses[label] = {used: both[used] for used in statements if used in both}
    return Graph(statements, uses, {label: Marks() for label in statements})
