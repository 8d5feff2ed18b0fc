"""What a text says of the item that it stands beside: attributes by a schema of words."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from typing import Any

from fashret.data.phrases import as_texts, check_phrases, tokenize
from fashret.data.schema_file import PARTS, changed, check_parts, read_schema
from fashret.errors import ConfigError

_BREAKS = frozenset(
    "a an the this that these those it its they their he she with in of on to from by for is are "
    "was has have having wears wear wearing worn paired pair also plus while whose "
    ", . ; : ! ? \u3001 \u3002".split()
)
"""Words over which no adjective reaches the noun behind it."""

_NOUNS = frozenset(
    "fabric fabrics pattern patterns print prints design designs neckline necklines neck necks "
    "collar collars sleeve sleeves stripe stripes dot dots material materials texture".split()
)
"""A value that ends in one of these is said of what stands before it: *with short sleeves*."""

_ENDS = frozenset(".;!?\u3002")
_NEGATIONS = frozenset("no not without non never".split())
_BETWEEN = frozenset("a an the any is are with made of".split())
_REACH = 5
"""Words between a value and the head that it needs."""

_BODY = ("upper", "outer", "full")
_ALTERNATIVES = re.compile(r"[_/&,]")
_PLURAL = re.compile(r"[^s]s\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class _Meaning:
    """What a phrase states: a garment's slot, or a value of an attribute."""

    attribute: str | None
    value: str
    needs_head: bool = False


@dataclass(frozen=True)
class _Mention:
    """A phrase that was found: tokens `start` to `end`."""

    start: int
    end: int
    sentence: int
    meaning: _Meaning


@dataclass(frozen=True, kw_only=True)
class Schema:
    """Attributes, their values, and the words that state them.

    A caption describes an outfit. What it says of an attribute belongs to the garment whose noun
    it stands before (*a green chiffon dress*), else to the last garment before it that can have
    the attribute (*The shorts are denim. It has a round neckline.* is no neckline of the shorts).
    The item's own garment is the one that is worn where its category is worn, whatever the text
    calls it. What the text does not say is unknown.

    Args:
        garments: nouns by where they are worn: upper, outer, full, lower.
        attributes: by name `values` (phrases by value); `garments`, where they are worn that can
            have the attribute, any by default; `heads`, words of which one must stand near a
            phrase that ends in `*`; and `of: text` for what is said of no garment. Phrases are
            words of any script, or numbers.
        names: phrases that state nothing, such as brands: *Red Tape* is no colour.
        base: the schema that the other arguments change (the name of a word list, a path, a
            mapping or a schema): their mappings are merged into its own, their lists replace its
            own, and None removes a value.

    Raises:
        ConfigError: a part has another shape, or holds a phrase that no text can hold.
    """

    garments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    names: Sequence[str] = ()
    base: InitVar[object] = None

    @classmethod
    def of(cls, value: "Schema | Mapping[str, object] | str") -> "Schema":
        """Read what the configuration has as `data.schema`.

        Args:
            value: the name of a word list, the path of a YAML file, or a mapping like its content.

        Raises:
            ConfigError: there is no such file, or the value has another shape.
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
        held: dict[str, Any] = {key: part for key, part in value.items() if part is not None}
        return cls(**held)

    def __post_init__(self, base: object) -> None:
        if base is not None:
            self._start_from(base)
        self._check()

    def _start_from(self, base: object) -> None:
        """Fill what is not given from another schema."""
        if isinstance(base, str):
            start = read_schema(base)
        else:
            if not isinstance(base, Schema | Mapping):
                raise ConfigError(f"data.schema.base={base}: it is no word list")
            made = Schema.of(base)
            start = {name: getattr(made, name) for name in PARTS}
        changes: dict[str, Any] = {"garments": self.garments, "attributes": self.attributes}
        if self.names != ():  # an empty list empties it
            changes["names"] = self.names
        for name, value in changed(start, changes).items():
            object.__setattr__(self, name, value)

    def _check(self) -> None:
        """Make sure that every part has its shape and every phrase can be found.

        Raises:
            ConfigError: naming the first that has not.
        """
        for name in ("garments", "attributes"):
            if not isinstance(getattr(self, name), Mapping):
                raise ConfigError(f"data.schema.{name}: {getattr(self, name)!r} is no mapping")
        for name, attribute in self.attributes.items():
            held = list(attribute) if isinstance(attribute, Mapping) else [attribute]
            unknown = set(map(str, held)) - {"values", "garments", "heads", "of"}
            if unknown or not isinstance(attribute.get("values"), Mapping):
                raise ConfigError(
                    f"data.schema.attributes.{name} needs values, and may have garments, heads "
                    f"and of; it has {', '.join(map(str, held))}"
                )
            key, values = f"data.schema.attributes.{name}", attribute["values"]
            assert isinstance(values, Mapping)
            for value, phrases in values.items():
                if value is None or isinstance(value, bool):
                    raise ConfigError(f"{key}.values: {value} is no value; put it in quotes")
                check_phrases(phrases, f"{key}.values.{value}")
                starred = [said for said in as_texts(phrases) if said.endswith("*")]
                if starred and not attribute.get("heads"):
                    raise ConfigError(
                        f"{key}.values.{value}: '{starred[0]}' counts only beside one of "
                        f"{key}.heads, which is empty, so that no text matches it"
                    )
            if "heads" in attribute:
                check_phrases(attribute["heads"], f"{key}.heads", one_word=True)
        for slot, nouns in self.garments.items():
            check_phrases(nouns, f"data.schema.garments.{slot}")
        if self.names:
            check_phrases(self.names, "data.schema.names")

    def read(self, text: str, category: str) -> dict[str, str]:
        """The attributes that a text states of its item.

        Args:
            text: a caption of an outfit, or a product's title.
            category: the item's, "unknown" where it is not known.

        Returns:
            Values by attribute; what is not stated is left out.
        """
        tokens = tokenize(text)
        mentions = list(self._mentions(tokens))
        garments = [m for m in mentions if m.meaning.attribute is None]
        own = self._own(garments, category)
        slot = self.slot(category)
        found: dict[str, str] = {}
        for mention in mentions:
            name = mention.meaning.attribute
            if name is None or name in found or _is_negated(mention, tokens):
                continue
            if self.attributes[name].get("of") == "text":
                found[name] = mention.meaning.value
                continue
            possible = self._slots(name)
            if possible is not None and slot is not None and slot not in possible:
                continue
            owner = self._owner(mention, garments, tokens, possible)
            if owner in own or (owner is None and not garments):
                found[name] = mention.meaning.value
        return found

    def value(self, attribute: str, label: str) -> str | None:
        """The value of the schema that a label of a data set states: *Navy Blue* is navy."""
        for mention in self._in_label(label):
            if mention.meaning.attribute == attribute:
                return mention.meaning.value
        return None

    def phrases(self, attribute: str, value: str) -> list[str]:
        """What states a value, as the schema has it; nothing for a value that it lacks."""
        values = self.attributes.get(attribute, {}).get("values")
        if not isinstance(values, Mapping):
            return []
        return next((as_texts(said) for name, said in values.items() if str(name) == value), [])

    def split_category(self, label: str) -> tuple[str, str | None]:
        """A category without the pattern in its name: *Graphic_Tees* are Tees, and graphic.

        Returns:
            The category, "unknown" where nothing but the pattern was in the name; and the pattern.
        """
        for mention in self._in_label(label):
            if mention.meaning.attribute == "pattern":
                words = tokenize(label)[mention.start : mention.end]
                spelt = r"[\W_]*".join(words).replace("color", "colou?r")
                named = re.sub(rf"(?<![a-z]){spelt}(?![a-z])", "", label, count=1, flags=re.I)
                return named.strip(" _-/&,") or "unknown", mention.meaning.value
        return label, None

    def slot(self, category: str) -> str | None:
        """Where a category is worn; None for what is no garment, and for what is unknown.

        Of several kinds (*Jackets_Vests*) the first decides, of one (*shirt dress*) the last word.
        """
        first, *others = _ALTERNATIVES.split(category)
        if others and _PLURAL.search(first) and self.slot(first) is not None:
            return self.slot(first)
        found = [m for m in self._in_label(category) if m.meaning.attribute is None]
        return found[-1].meaning.value if found else None

    def _own(self, garments: list[_Mention], category: str) -> list[_Mention]:
        """The mentions of the item's own garment."""
        slot = self.slot(category)
        if not garments:
            return []
        if slot is None:
            slot = garments[0].meaning.value
        own = [m for m in garments if m.meaning.value == slot]
        if not own and slot in _BODY:  # a cardigan that the text calls a sweater
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
        """The garment that a value is said of."""
        able = [m for m in garments if possible is None or m.meaning.value in possible]
        after = [m for m in able if m.start >= mention.start and m.sentence == mention.sentence]
        if after and tokens[mention.end - 1] not in _NOUNS:
            between = tokens[mention.end : max(mention.end, after[0].start)]
            # No adjective reaches a noun over an *and* that stands right before it: *a shirt with
            # cotton and shorts* says nothing of the shorts.
            joined = between[-1:] == ["and"]
            if not joined and not any(t in _BREAKS or t in _NOUNS for t in between):
                return after[0]
        before = [m for m in able if m.start < mention.start]
        if before:
            return before[-1]
        return after[0] if after else None

    def _in_label(self, label: str) -> list[_Mention]:
        """The phrases in a label; a set has few, and states them of many items."""
        if label not in self._labels:
            self._labels[label] = list(self._mentions(tokenize(label)))
        return self._labels[label]

    @cached_property
    def _labels(self) -> dict[str, list[_Mention]]:
        return {}

    def _mentions(self, tokens: list[str]) -> Iterator[_Mention]:
        """The longest phrases of the schema in a text, from left to right."""
        place, sentence = 0, 0
        while place < len(tokens):
            sentence += tokens[place] in _ENDS
            step = 1
            for phrase, meanings in self._phrases.get(tokens[place], ()):
                if tokens[place : place + len(phrase)] != phrase:
                    continue
                end = place + len(phrase)
                valid = [m for m in meanings if self._has_head(m, tokens, place, end)]
                if valid or not meanings:  # a name means nothing
                    yield from (_Mention(place, end, sentence, meaning) for meaning in valid)
                    step = len(phrase)
                    break
            place += step

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
        """Where garments are worn that can have an attribute; None for anywhere."""
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
        return {
            name: frozenset(
                head for said in as_texts(attribute.get("heads", ())) for head in tokenize(said)
            )
            for name, attribute in self.attributes.items()
        }

    @cached_property
    def _phrases(self) -> dict[str, list[tuple[list[str], list[_Meaning]]]]:
        """Phrases and their meanings by their first token, the longest first."""
        known: dict[tuple[str, ...], list[_Meaning]] = {}

        def learn(phrase: str, attribute: str | None, value: str) -> None:
            meaning = _Meaning(attribute, value, needs_head=phrase.endswith("*"))
            words = tokenize(phrase)
            for last in {words[-1], f"{words[-1]}s", f"{words[-1]}es"}:
                meanings = known.setdefault((*words[:-1], last), [])
                if not any(m.attribute == attribute for m in meanings):
                    meanings.append(meaning)

        for slot, nouns in self.garments.items():
            for noun in as_texts(nouns):
                learn(noun, None, slot)
        for name, attribute in self.attributes.items():
            values = attribute["values"]
            assert isinstance(values, Mapping)
            for value, phrases in values.items():
                for phrase in as_texts(phrases):
                    learn(phrase, name, str(value))
        for phrase in as_texts(self.names):
            known[tuple(tokenize(phrase))] = []
        by_first: dict[str, list[tuple[list[str], list[_Meaning]]]] = {}
        for words, meanings in sorted(known.items(), key=lambda entry: -len(entry[0])):
            by_first.setdefault(words[0], []).append((list(words), meanings))
        return by_first


def _is_negated(mention: _Mention, tokens: list[str]) -> bool:
    """Whether the words before a value deny it: *no stripes*, *not made of denim*."""
    for token in reversed(tokens[max(0, mention.start - 4) : mention.start]):
        if token in _NEGATIONS:
            return True
        if token not in _BETWEEN:
            return False
    return False
