"""Extraction of an item's attributes from its text, by a schema of words."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from typing import Any

from fashret.data.phrases import as_texts, check_phrases, tokenize
from fashret.data.schema_file import PARTS, check_parts, merge_changes, read_schema
from fashret.errors import ConfigError

_BREAKS = frozenset(
    "a an the this that these those it its they their he she with in of on to from by for is are "
    "was has have having wears wear wearing worn paired pair also plus while whose "
    ", . ; : ! ? \u3001 \u3002".split()
)
"""Words that separate an adjective from a noun after it."""

_NOUNS = frozenset(
    "fabric fabrics pattern patterns print prints design designs neckline necklines neck necks "
    "collar collars sleeve sleeves stripe stripes dot dots material materials texture".split()
)
"""A value that ends in one of these belongs to a garment before it: *with short sleeves*."""

_ENDS = frozenset(".;!?\u3002")
_NEGATIONS = frozenset("no not without non never".split())
_BETWEEN = frozenset("a an the any is are with made of".split())
_REACH = 5
"""Largest number of words between a value and the head word that it needs."""

_BODY = ("upper", "outer", "full")
_ALTERNATIVES = re.compile(r"[_/&,]")
_PLURAL = re.compile(r"[^s]s\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class _Meaning:
    """The meaning of a phrase: a garment's slot, or a value of an attribute."""

    attribute: str | None
    value: str
    needs_head: bool = False


@dataclass(frozen=True)
class _Mention:
    """A phrase in a text: tokens `start` to before `end`."""

    start: int
    end: int
    sentence: int
    meaning: _Meaning


@dataclass(frozen=True, kw_only=True)
class Schema:
    """Attributes, their values, and the phrases that state them in texts.

    A caption describes an outfit. A value belongs to the garment noun that follows it (*a green
    chiffon dress*), else to the last garment before it that can have the attribute (in *The shorts
    are denim. It has a round neckline.* the neckline is not one of the shorts). The item's own
    garment is the one that is worn in the slot of its category, whatever the text calls it. Values
    that the text does not state are unknown.

    Args:
        garments: nouns of garments by slot: upper, outer, full, lower.
        attributes: rules by attribute: `values` (phrases by value); `garments`, the slots of the
            garments that can have the attribute, any by default; `heads`, words of which one must
            be near a phrase that ends in `*`; `not_before`, words before which a phrase states
            nothing (*denim-look*); and `of: text` for an attribute of the whole text,
            not of a garment. Phrases are words of any script, or numbers.
        names: phrases without a meaning, such as brands: *Red Tape* is not a colour.
        base: the schema that the other arguments change (the name of a word list, a path, a
            mapping or a schema): their mappings are merged into its own, their lists replace its
            own, and None removes a value.

    Raises:
        ConfigError: a part has another structure, or a phrase that no text can contain.
    """

    garments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    names: Sequence[str] = ()
    base: InitVar[object] = None

    @classmethod
    def from_config(cls, value: "Schema | Mapping[str, object] | str") -> "Schema":
        """Create the schema of a `data.schema` value.

        Args:
            value: the name of a word list, the path of a YAML file, a mapping like its content, or
                a schema, which is returned.

        Raises:
            ConfigError: the file does not exist, or the value has another structure.
        """
        if isinstance(value, Schema):
            return value
        if isinstance(value, str):
            return cls(base=value)
        check_parts(value, "data.schema")
        if value and value.get("base") is None and not {"garments", "attributes"} <= set(value):
            raise ConfigError(
                "data.schema needs garments and attributes; to change single words of a word "
                "list, name it: data.schema={base: fashion, names: []} "
                "(docs/data.md#attributes-from-texts)"
            )
        parts: dict[str, Any] = {key: part for key, part in value.items() if part is not None}
        return cls(**parts)

    def __post_init__(self, base: object) -> None:
        if base is not None:
            self._start_from(base)
        self._check()

    def _start_from(self, base: object) -> None:
        """Merge the given parts into another schema."""
        if isinstance(base, str):
            start = read_schema(base)
        else:
            if not isinstance(base, Schema | Mapping):
                raise ConfigError(f"data.schema.base={base}: this is not a word list")
            schema = Schema.from_config(base)
            start = {name: getattr(schema, name) for name in PARTS}
        changes: dict[str, Any] = {"garments": self.garments, "attributes": self.attributes}
        if self.names != ():  # an empty list empties it
            changes["names"] = self.names
        for name, value in merge_changes(start, changes).items():
            object.__setattr__(self, name, value)

    def _check(self) -> None:
        """Check the structure of every part, and that every phrase can occur in a text.

        Raises:
            ConfigError: the message names the first fault.
        """
        for name in ("garments", "attributes"):
            if not isinstance(getattr(self, name), Mapping):
                raise ConfigError(f"data.schema.{name}: {getattr(self, name)!r} is no mapping")
        for name, attribute in self.attributes.items():
            keys = list(attribute) if isinstance(attribute, Mapping) else [attribute]
            unknown = set(map(str, keys)) - {"values", "garments", "heads", "of", "not_before"}
            if unknown or not isinstance(attribute.get("values"), Mapping):
                raise ConfigError(
                    f"data.schema.attributes.{name} needs values, and may have garments, heads, "
                    f"not_before and of; it has {', '.join(map(str, keys))}"
                )
            key, values = f"data.schema.attributes.{name}", attribute["values"]
            assert isinstance(values, Mapping)
            for value, phrases in values.items():
                if value is None or isinstance(value, bool):
                    raise ConfigError(f"{key}.values: {value} is no value; put it in quotes")
                check_phrases(phrases, f"{key}.values.{value}")
                starred = [phrase for phrase in as_texts(phrases) if phrase.endswith("*")]
                if starred and not attribute.get("heads"):
                    raise ConfigError(
                        f"{key}.values.{value}: '{starred[0]}' counts only beside one of "
                        f"{key}.heads, which is empty, so that no text matches it"
                    )
            for part in {"heads", "not_before"} & attribute.keys():
                check_phrases(attribute[part], f"{key}.{part}", one_word=True)
        for slot, nouns in self.garments.items():
            check_phrases(nouns, f"data.schema.garments.{slot}")
        if self.names:
            check_phrases(self.names, "data.schema.names")

    def read(self, text: str, category: str) -> dict[str, str]:
        """Extract an item's attributes from its text.

        Args:
            text: a caption of an outfit, or a product's title.
            category: category of the item, "unknown" where it is not known.

        Returns:
            Values by attribute; attributes that the text does not state are left out.
        """
        tokens = tokenize(text)
        mentions = list(self._mentions(tokens))
        garments = [m for m in mentions if m.meaning.attribute is None]
        own = self._own(garments, category)
        slot = self.slot(category)
        values: dict[str, str] = {}
        for mention in mentions:
            name = mention.meaning.attribute
            if name is None or name in values or _is_negated(mention, tokens):
                continue
            if not self._not_before[name].isdisjoint(tokens[mention.end : mention.end + 1]):
                continue
            if self.attributes[name].get("of") == "text":
                values[name] = mention.meaning.value
                continue
            possible = self._slots(name)
            if possible is not None and slot is not None and slot not in possible:
                continue
            owner = self._owner(mention, garments, tokens, possible)
            if owner in own or (owner is None and not garments):
                values[name] = mention.meaning.value
        return values

    def value(self, attribute: str, label: str) -> str | None:
        """Translate a data set's label to a value of the schema: *Navy Blue* is navy."""
        for mention in self._in_label(label):
            if mention.meaning.attribute == attribute:
                return mention.meaning.value
        return None

    def phrases(self, attribute: str, value: str) -> list[str]:
        """List the phrases of a value in the schema; empty for a value that it does not have."""
        values = self.attributes.get(attribute, {}).get("values")
        if not isinstance(values, Mapping):
            return []
        return next((as_texts(texts) for name, texts in values.items() if str(name) == value), [])

    def split_category(self, label: str) -> tuple[str, str | None]:
        """Split a category and the pattern in its name: *Graphic_Tees* are Tees, and graphic.

        Returns:
            The category without the pattern, "unknown" if the name is only a pattern; and the
            pattern, None if the name has none.
        """
        for mention in self._in_label(label):
            if mention.meaning.attribute == "pattern":
                words = tokenize(label)[mention.start : mention.end]
                spelt = r"[\W_]*".join(words).replace("color", "colou?r")
                named = re.sub(rf"(?<![a-z]){spelt}(?![a-z])", "", label, count=1, flags=re.I)
                return named.strip(" _-/&,") or "unknown", mention.meaning.value
        return label, None

    def slot(self, category: str) -> str | None:
        """Find the slot in which a category is worn; None for no garment or an unknown category.

        Of several categories (*Jackets_Vests*) the first decides, of one (*shirt dress*) the last
        word.
        """
        first, *others = _ALTERNATIVES.split(category)
        if others and _PLURAL.search(first) and self.slot(first) is not None:
            return self.slot(first)
        found = [m for m in self._in_label(category) if m.meaning.attribute is None]
        return found[-1].meaning.value if found else None

    def _own(self, garments: list[_Mention], category: str) -> list[_Mention]:
        """Find the mentions of the item's own garment."""
        slot = self.slot(category)
        if not garments:
            return []
        if slot is None:
            slot = garments[0].meaning.value
        own = [m for m in garments if m.meaning.value == slot]
        if not own and slot in _BODY:  # such as a cardigan that the text calls a sweater
            near = [m for m in garments if m.meaning.value in _BODY]
            own = [m for m in near if m.meaning.value == near[0].meaning.value]
        return own

    def _owner(
        self,
        mention: _Mention,
        garments: list[_Mention],
        tokens: list[str],
        possible: frozenset[str] | None,
    ) -> _Mention | None:
        """Find the garment that a value belongs to."""
        able = [m for m in garments if possible is None or m.meaning.value in possible]
        after = [m for m in able if m.start >= mention.start and m.sentence == mention.sentence]
        if after and tokens[mention.end - 1] not in _NOUNS:
            between = tokens[mention.end : max(mention.end, after[0].start)]
            # An adjective does not belong to a noun after *and*: in *a shirt with cotton and
            # shorts* cotton is not a value of the shorts.
            joined = between[-1:] == ["and"]
            if not joined and not any(t in _BREAKS or t in _NOUNS for t in between):
                return after[0]
        before = [m for m in able if m.start < mention.start]
        if before:
            return before[-1]
        return after[0] if after else None

    def _in_label(self, label: str) -> list[_Mention]:
        """Find the phrases in a label; cached, since many items share few labels."""
        if label not in self._labels:
            self._labels[label] = list(self._mentions(tokenize(label)))
        return self._labels[label]

    @cached_property
    def _labels(self) -> dict[str, list[_Mention]]:
        return {}

    def _mentions(self, tokens: list[str]) -> Iterator[_Mention]:
        """Yield the longest phrases of the schema in a text, from left to right."""
        start, sentence = 0, 0
        while start < len(tokens):
            sentence += tokens[start] in _ENDS
            step = 1
            for phrase, meanings in self._phrases.get(tokens[start], ()):
                if tokens[start : start + len(phrase)] != phrase:
                    continue
                end = start + len(phrase)
                valid = [m for m in meanings if self._has_head(m, tokens, start, end)]
                if valid or not meanings:  # `names` have no meanings
                    yield from (_Mention(start, end, sentence, meaning) for meaning in valid)
                    step = len(phrase)
                    break
            start += step

    def _has_head(self, meaning: _Meaning, tokens: list[str], start: int, end: int) -> bool:
        if not meaning.needs_head:
            return True
        heads = self._heads[str(meaning.attribute)]
        for token in tokens[end : end + _REACH]:
            if token in heads:
                return True
            if token in _ENDS:
                break
        for token in reversed(tokens[max(0, start - _REACH) : start]):
            if token in heads:
                return True
            if token in _ENDS:
                break
        return False

    def _slots(self, attribute: str) -> frozenset[str] | None:
        """Slots of the garments that can have an attribute; None for any."""
        return self._possible[attribute]

    @cached_property
    def _possible(self) -> dict[str, frozenset[str] | None]:
        return {
            name: None
            if attribute.get("garments") is None
            else frozenset(as_texts(attribute["garments"]))
            for name, attribute in self.attributes.items()
        }

    @cached_property
    def _heads(self) -> dict[str, frozenset[str]]:
        return {name: _words(of.get("heads", ())) for name, of in self.attributes.items()}

    @cached_property
    def _not_before(self) -> dict[str, frozenset[str]]:
        return {name: _words(of.get("not_before", ())) for name, of in self.attributes.items()}

    @cached_property
    def _phrases(self) -> dict[str, list[tuple[list[str], list[_Meaning]]]]:
        """Phrases and their meanings by their first token, the longest first."""
        lookup: dict[tuple[str, ...], list[_Meaning]] = {}

        def add(phrase: str, attribute: str | None, value: str) -> None:
            meaning = _Meaning(attribute, value, needs_head=phrase.endswith("*"))
            words = tokenize(phrase)
            for last in {words[-1], f"{words[-1]}s", f"{words[-1]}es"}:
                meanings = lookup.setdefault((*words[:-1], last), [])
                if not any(m.attribute == attribute for m in meanings):
                    meanings.append(meaning)

        for slot, nouns in self.garments.items():
            for noun in as_texts(nouns):
                add(noun, None, slot)
        for name, attribute in self.attributes.items():
            values = attribute["values"]
            assert isinstance(values, Mapping)
            for value, phrases in values.items():
                for phrase in as_texts(phrases):
                    add(phrase, name, str(value))
        for phrase in as_texts(self.names):
            lookup[tuple(tokenize(phrase))] = []
        by_first: dict[str, list[tuple[list[str], list[_Meaning]]]] = {}
        for words, meanings in sorted(lookup.items(), key=lambda entry: -len(entry[0])):
            by_first.setdefault(words[0], []).append((list(words), meanings))
        return by_first


def _words(texts: object) -> frozenset[str]:
    return frozenset(word for text in as_texts(texts) for word in tokenize(text))


def _is_negated(mention: _Mention, tokens: list[str]) -> bool:
    """Return whether the words before a value negate it: *no stripes*, *free of leather*."""
    before = tokens[max(0, mention.start - 4) : mention.start]
    for place, token in reversed(list(enumerate(before))):
        if token in _NEGATIONS or before[place : place + 2] == ["free", "of"]:
            return True
        if token not in _BETWEEN:
            return False
    return False
