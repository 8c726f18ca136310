"""Sums of products over named axes: `einsum`, pair by pair, each a product of matrices.

"bqhd,bkhd->bhqk"    b, h in both and kept: leading axes;  q, k in one: rows, columns;  d in both: the sum
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, cast_to, emit, floats, reshaped, transposed, values
from kernelearn.tracing import Traced, fixed, function

# Stands for axes of "..." in equations as they are worked on: letters that equations cannot have.
_HIDDEN = "αβγδεζηθικλμνξοπρστυφχψω"


@operation
def einsum(subscripts: str, *operands: Value, **options: Any) -> Any:
    """The sum of products that an equation names: axes of one letter go together, those not in the result are
    summed.

    Args:
        subscripts: such as "bij,bjk->bik", or "bij,bjk" with letters that occur once as the result; "..." for
            leading axes, which are broadcast; a letter twice in one operand is its diagonal.
        operands: as many as the equation has.
        options: as in Keras and NumPy, and without effect: `optimize`.
    Raises: ArgumentError for an equation that is none, ShapeError for sizes that do not fit it.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.einsum("ij,jk->ki", np.ones((2, 3)), np.ones((3, 4))).shape
    (4, 2)
    >>> ops.einsum("ii->", np.eye(3))
    array(3.)
    """
    if set(options) - {"optimize"}:
        raise ArgumentError(f"einsum takes no arguments {sorted(set(options) - {'optimize'})}.")
    arrays = typed(*operands)
    inputs, output = parsed(subscripts, [value.ndim for value in arrays])
    terms = [_diagonal(Term(value, letters)) for value, letters in zip(arrays, inputs)]
    _check_sizes(subscripts, terms)
    while len(terms) > 1:
        i, j = _cheapest(terms, output)
        left, right = terms[i], terms[j]
        rest = [term for n, term in enumerate(terms) if n not in (i, j)]
        needed = output + "".join(term.letters for term in rest)
        terms = [_joined(left, right, needed), *rest]
    return _arranged(_summed(terms[0], output), output).value


def typed(*given: Value) -> list[Value]:
    """Values of one type: the float type of `floats` if one is a float, else that of all integers."""
    arrays = values(*given)
    kinds = [str(value.dtype) for value in arrays]
    if any(kind.startswith("float") for kind in kinds):
        return floats(*given)
    if len(set(kinds)) == 1 and kinds[0] != "bool":
        return arrays
    # NOTE: sums of booleans and of mixed integers are counted in 64 or 32 bits.
    dtype = "int64" if any("64" in kind for kind in kinds) else "int32"
    return [cast_to(value, dtype) for value in arrays]


@dataclass(frozen=True)
class Term:
    """A value with a letter for each axis."""

    value: Value
    letters: str

    @property
    def sizes(self) -> dict[str, int | None]:
        return dict(zip(self.letters, shape_of(self.value)))

    @property
    def image(self) -> str:
        """The letter of the axis of images, whose size is not known; "" if there is none."""
        return next((letter for letter, size in self.sizes.items() if size is None), "")

    @property
    def fixed(self) -> Term:
        """With the number of images as a size."""
        return Term(fixed(self.value), self.letters)


def shape_of(value: Value) -> tuple[int | None, ...]:
    """Sizes, with None for the images of a traced value."""
    return value.buffer.shape if isinstance(value, Traced) else value.shape


# --- the equation


def parsed(subscripts: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Letters of the operands and of the result, "..." written out."""
    text = subscripts.replace(" ", "")
    left, arrow, output = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(ranks):
        raise ArgumentError(
            f"The equation {subscripts!r} has {len(inputs)} operands, but {len(ranks)} were given."
        )
    allowed = set(string.ascii_letters)
    if set(text.replace("...", "").replace("->", "").replace(",", "")) - allowed:
        raise ArgumentError(
            "An equation has letters, commas, '...' and one '->', such as 'bij,bjk->bik'; "
            f"got {subscripts!r}."
        )
    inputs = [_written_out(subscripts, part, rank) for part, rank in zip(inputs, ranks)]
    most = max((part for part in inputs), key=lambda part: sum(x in _HIDDEN for x in part), default="")
    dots = "".join(x for x in most if x in _HIDDEN)
    if not arrow:
        counts = "".join(inputs)
        output = dots + "".join(sorted(x for x in set(counts) if counts.count(x) == 1 and x not in _HIDDEN))
    output = output.replace("...", dots)
    if len(set(output)) != len(output) or set(output) - set("".join(inputs)):
        raise ArgumentError(
            f"The result of the equation {subscripts!r} must have letters of the operands, each once."
        )
    return inputs, output


def _written_out(subscripts: str, part: str, rank: int) -> str:
    """The letters of an operand, as many as it has axes; those of "..." count from the last."""
    hidden = rank - len(part.replace("...", ""))
    if ("..." not in part and hidden) or hidden < 0 or hidden > len(_HIDDEN):
        raise ShapeError(
            f"{part!r} in the equation {subscripts!r} stands for an operand of {rank} axes: give a letter "
            "for each, or '...'."
        )
    return part.replace("...", _HIDDEN[::-1][len(_HIDDEN) - hidden :] if hidden else "", 1)


def _check_sizes(subscripts: str, terms: list[Term]) -> None:
    """Refuse letters of two sizes, and take away axes of size 1 beside others of their letter."""
    found: dict[str, set[int | None]] = {}
    for term in terms:
        for letter, size in term.sizes.items():
            found.setdefault(letter, set()).add(size)
    for letter, sizes in found.items():
        if len({s for s in sizes if s != 1}) > 1 and None not in sizes:
            raise ShapeError(
                f"The letter {letter!r} of the equation {subscripts!r} has several sizes, "
                f"{sorted(map(str, sizes))}, in operands of shapes {[shape_of(t.value) for t in terms]}."
            )
    for number, term in enumerate(terms):
        kept = "".join(x for x in term.letters if term.sizes[x] != 1 or found[x] == {1})
        terms[number] = Term(shaped(term.value, [term.sizes[x] for x in kept]), kept)


def _diagonal(term: Term) -> Term:
    """A term whose letters are all different: of two axes of one letter, the diagonal."""
    for letter in term.letters:
        places = [i for i, x in enumerate(term.letters) if x == letter]
        if len(places) > 1:
            rest = [i for i in range(len(term.letters)) if i not in places[:2]]
            value = transposed(term.value, [*rest, *places[:2]])
            letters = "".join(term.letters[i] for i in rest) + letter
            return _diagonal(Term(diagonal_of_last(value), letters))
    return term


def diagonal_of_last(value: Value) -> Value:
    """The diagonal of the last two axes: every (n + 1)th number of a matrix of n columns."""
    value = fixed(value) if value.ndim == 2 else value
    *rest, rows, columns = shape_of(value)
    if rows != columns or rows is None:
        raise ShapeError(f"Only square matrices have the diagonal that is asked for; got {value.shape}.")
    flat = reshaped(value, (*rest, rows * rows))
    return emit("strided_slice", flat, places=(*(None for _ in rest), (0, rows, rows + 1)))


# --- products of two


def _cheapest(terms: list[Term], output: str) -> tuple[int, int]:
    """The two operands whose product is the least work; the first ones of several."""

    def work(pair: tuple[int, int]) -> int:
        sizes = {**terms[pair[0]].sizes, **terms[pair[1]].sizes}
        total = 1
        for size in sizes.values():
            total *= size or 1
        return total

    return min(itertools.combinations(range(len(terms)), 2), key=work)


def _summed(term: Term, needed: str) -> Term:
    """A term without the axes that nothing needs."""
    axes = tuple(i for i, x in enumerate(term.letters) if x not in needed)
    if not axes:
        return term
    left = "".join(x for x in term.letters if x in needed)
    total = emit("sum_to", term.value, axes=axes, shape=tuple(term.sizes[x] for x in left))
    return Term(total, left)


def _arranged(term: Term, letters: str) -> Term:
    """A term with its axes in this order."""
    return Term(transposed(term.value, [term.letters.index(x) for x in letters]), letters)


def _joined(a: Term, b: Term, needed: str) -> Term:
    """The product of two terms, summed over what is in both and not needed."""
    a = _summed(a, needed + b.letters)
    b = _summed(b, needed + a.letters)
    shared = [x for x in a.letters if x in b.letters]
    summed = [x for x in shared if x not in needed]
    batch = [x for x in shared if x in needed]
    if not summed:
        return _multiplied(a, b)
    if a.image in summed and a.image == b.image and a.image and not batch:
        return _summed_over_images(a, b, summed)
    if (a.image or b.image) and not _images_can_lead(a, b, batch):
        a, b = a.fixed, b.fixed
    if b.image and not a.image:
        a, b = b, a
    return _matrices(a, b, batch, summed)


def _images_can_lead(a: Term, b: Term, batch: list[str]) -> bool:
    """Whether the images can be the first axis of the product: kept, and in one operand or in both."""
    one, other = a.image, b.image
    if one and other:
        return one == other and one in batch
    (image,) = [x for x in (one, other) if x]
    return image not in a.letters or image not in b.letters


def _multiplied(a: Term, b: Term) -> Term:
    """Entry by entry, each repeated along the letters of the other."""
    if b.image and not a.image:
        a, b = b, a
    if b.image and b.image != a.image:
        a, b = a.fixed, b.fixed
    letters = a.letters + "".join(x for x in b.letters if x not in a.letters)
    parts = []
    for term in (a, b):
        held = _arranged(term, "".join(x for x in letters if x in term.letters))
        sizes = [held.sizes.get(x, 1) for x in letters]
        parts.append(shaped(held.value, sizes))
    return Term(function("multiply")(*parts), letters)


def _summed_over_images(a: Term, b: Term, summed: list[str]) -> Term:
    """A product that sums over the images: what the gradient of a dense kernel is."""
    free = [[x for x in term.letters if x not in summed] for term in (a, b)]
    rows = []
    for term, own in zip((a, b), free):
        held = _arranged(term, "".join([a.image, *[x for x in summed if x != a.image], *own]))
        inside = [held.sizes[x] for x in summed if x != a.image]
        rows.append(shaped(held.value, [None, *inside, _count(held, own)]))
    letters = "".join(free[0] + free[1])
    sizes = [{**a.sizes, **b.sizes}[x] for x in letters]
    return Term(shaped(emit("dense_grad_kernel", *rows), sizes), letters)


def _count(term: Term, letters: Sequence[str]) -> int:
    """How many entries these axes have together; the images must not be among them."""
    total = 1
    for letter in letters:
        total *= term.sizes[letter] or 0
    return total


def _matrices(a: Term, b: Term, batch: list[str], summed: list[str]) -> Term:
    """As a product of matrices; the images, if they are not known, are the first of the leading axes."""
    free = [[x for x in term.letters if x not in batch and x not in summed] for term in (a, b)]
    lead = sorted(batch, key=lambda x: x != a.image)
    if a.image in free[0]:
        free[0].remove(a.image)
        lead = [a.image, *lead]
    flags: list[bool] = []
    parts: list[Value] = []
    for number, (term, own) in enumerate(zip((a, b), free)):
        first = [x for x in lead if x in term.letters]
        usual = [first + own + summed, first + summed + own]
        orders = usual if number == 0 else usual[::-1]
        is_turned = list(term.letters) == orders[1] and orders[0] != orders[1]
        held = _arranged(term, "".join(orders[is_turned]))
        sizes = (_count(held, own), _count(held, summed))
        matrix = sizes if (number == 0) != is_turned else sizes[::-1]
        parts.append(shaped(held.value, [*(held.sizes[x] for x in first), *matrix]))
        flags.append(is_turned)
    product = multiplied(parts[0], parts[1], flags[0], flags[1])
    letters = "".join(lead + free[0] + free[1])
    known = {**b.sizes, **a.sizes}
    return Term(shaped(product, [known[x] for x in letters]), letters)


def shaped(value: Value, shape: Sequence[int | None]) -> Value:
    """A value in another shape; itself if it has it, and what it is a reshaped view of if that has it."""
    wanted = tuple(shape)
    if shape_of(value) == wanted:
        return value
    source = _source(value)
    return source if shape_of(source) == wanted else reshaped(source, wanted)


def _source(value: Value) -> Value:
    """What a value is a reshaped view of."""
    if isinstance(value, Traced):
        for made in reversed(value.graph.operations):
            if value.buffer.name in made.outputs:
                is_view = made.operator == "reshape"
                return Traced(value.graph, value.graph.buffers[made.inputs[0]]) if is_view else value
    return value


def multiplied(a: Value, b: Value, transpose_a: bool = False, transpose_b: bool = False) -> Value:
    """The product of matrices; with one matrix `b` for all rows it is that of a dense layer."""
    if shape_of(a)[0] is None and b.ndim == 2 and not transpose_a:
        return emit("dense_grad_input" if transpose_b else "dense", a, b)
    return emit("matmul", a, b, transpose_a=transpose_a, transpose_b=transpose_b)
