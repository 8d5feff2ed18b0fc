"""What texts say of an item: outfits, pronouns, negations, titles."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from omegaconf import open_dict

from fashret.cli.schema_overrides import with_schema_overrides
from fashret.config import build
from fashret.data import attribute_parser
from fashret.data.attribute_parser import Schema
from fashret.data.preparation import prepare
from fashret.data.splits import digest
from fashret.errors import ConfigError
from support.commands import composed


@pytest.fixture(scope="module")
def schema() -> Schema:
    made: Schema = build(composed("train", ["paths.output_dir=."]).data).schema
    return made


OUTFIT = (
    "This woman wears a tank shirt with solid color patterns and a three-point shorts. The tank "
    "shirt is with cotton fabric and its neckline is round. The shorts are with denim fabric and "
    "striped patterns."
)
LAYERS = (
    "The upper clothing has long sleeves, cotton fabric and graphic patterns. It has a lapel "
    "neckline. The lower clothing is of three-point length. The fabric is denim and it has pure "
    "color patterns. The lady also wears an outer clothing, with knit fabric and plaid patterns."
)


@pytest.mark.parametrize(
    ("text", "category", "expected"),
    [
        (OUTFIT, "tees", {"pattern": "solid", "material": "cotton", "neckline": "round"}),
        (OUTFIT, "shorts", {"pattern": "striped", "material": "denim"}),
        (LAYERS, "shirts", {"sleeve": "long", "material": "cotton", "pattern": "graphic",
                            "neckline": "collared"}),
        (LAYERS, "shorts", {"material": "denim", "pattern": "solid"}),
        (LAYERS, "cardigans", {"material": "knitted", "pattern": "checked"}),
        # a pronoun means the garment that can have what is said of it
        ("A red tee and shorts. The shorts are with denim fabric. It has a round neckline.",
         "shorts", {"material": "denim"}),
        ("A red tee and shorts. The shorts are with denim fabric. It has a round neckline.",
         "tees", {"colour": "red", "neckline": "round"}),
        # the noun of the text is not the category's
        ("His shirt has short sleeves and stripes.", "sweatshirts",
         {"sleeve": "short", "pattern": "striped"}),
        ("A three-point pants with floral patterns.", "shorts", {"pattern": "floral"}),
        # adjectives belong to the noun behind them
        ("A green chiffon blouse, a v-neck and no sleeves, paired with purple denim pants.",
         "blouses", {"colour": "green", "material": "chiffon", "neckline": "v_neck",
                     "sleeve": "sleeveless"}),
        ("A green chiffon blouse, a v-neck and no sleeves, paired with purple denim pants.",
         "pants", {"colour": "purple", "material": "denim"}),
        ("Short sleeves and pants in black", "pants", {"colour": "black"}),
        # negation
        ("A knit dress without stripes, not made of cotton", "dresses", {"material": "knitted"}),
        ("A dress with no polka dots", "dresses", {}),
        # silence
        ("The model stands.", "dresses", {}),
        ("", "dresses", {}),
        # what is no neckline
        ("A round bag", "handbags", {}),
        ("A tee with a round logo", "tees", {}),
        # compounds, hyphens, plurals
        ("A navy-blue, polka-dotted skirt", "skirts", {"colour": "navy", "pattern": "dotted"}),
        ("Colour-block sweaters", "sweaters", {"pattern": "color_block"}),
        # titles
        ("Turtle Check Men Navy Blue Shirt", "Shirts",
         {"pattern": "checked", "gender": "men", "colour": "navy"}),
        ("Puma Women's Black Striped Flip Flops", "Flip Flops",
         {"gender": "women", "colour": "black", "pattern": "striped"}),
        ("Gini and Jony Girls Knit White Top", "Tops",
         {"gender": "girls", "material": "knitted", "colour": "white"}),
        # an unknown category: the first garment
        ("A blue shirt and black jeans", "unknown", {"colour": "blue"}),
    ],
)  # fmt: skip
def test_a_text_says_of_an_item_what_it_says(
    schema: Schema, text: str, category: str, expected: dict[str, str]
) -> None:
    found = schema.read(text, category)
    assert {name: value for name, value in found.items() if name != "gender"} == {
        name: value for name, value in expected.items() if name != "gender"
    }
    if "gender" in expected:
        assert found["gender"] == expected["gender"]


@pytest.mark.parametrize(
    ("label", "category", "pattern"),
    [
        ("Graphic_Tees", "Tees", "graphic"),
        ("graphic", "unknown", "graphic"),
        ("Color-Block Sweaters", "Sweaters", "color_block"),
        ("Colour Block Sprint Tees", "Sprint Tees", "color_block"),
        ("Sprint Print Tees", "Sprint  Tees", "printed"),
        ("Sweatshirts_Hoodies", "Sweatshirts_Hoodies", None),
        ("Casual Shoes", "Casual Shoes", None),
    ],
)
def test_a_pattern_is_no_category(
    schema: Schema, label: str, category: str, pattern: str | None
) -> None:
    assert schema.split_category(label) == (category, pattern)


def table(tmp_path: Path, rows: list[dict[str, str]]) -> dict[str, Any]:
    """The report of a folder whose table has these rows, and its columns."""
    from PIL import Image

    frame = pd.DataFrame(rows * 8)
    frame["item_id"] = [str(i) for i in range(len(frame))]
    frame["image"] = frame["item_id"] + ".png"
    frame.to_csv(tmp_path / "items.csv", index=False)
    for name in frame["image"]:
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    overrides = ["data=folder", f"data.root={tmp_path}", "data.table=items.csv"]
    source = build(composed("train", [*overrides, f"paths.output_dir={tmp_path}"]).data)
    made = prepare(source, tmp_path / "cache")
    report = made.report
    report["rows"] = made.dataset.remove_columns("image").to_list()
    return report


def test_what_the_set_states_stands_and_the_text_fills_the_rest(tmp_path: Path) -> None:
    report = table(
        tmp_path,
        [
            {"text": "A red knit tee", "category": "tees", "colour": "Dark Red"},
            {"text": "A blue tee", "category": "tees", "colour": "Green"},
            {"text": "A tee", "category": "striped_tees", "colour": ""},
        ],
    )
    found = {(row["text"], row["colour"], row["material"]) for row in report["rows"]}
    assert found == {
        ("A red knit tee", "Dark Red", "knitted"),
        ("A blue tee", "Green", "unknown"),
        ("A tee", "unknown", "unknown"),
    }
    assert {row["pattern"] for row in report["rows"] if row["text"] == "A tee"} == {"striped"}
    assert report["disagreements"] == {"colour": {"Green, text: blue": 8}}
    assert report["coverage"]["colour"] == {"tees": [16, 24]}


@pytest.mark.run
def test_the_samples_attributes_are_read_from_its_captions(cache_dir: Path) -> None:
    overrides = ["data.products=400", f"paths.output_dir={cache_dir}"]
    made = prepare(build(composed("train", overrides).data), cache_dir)
    measured = made.report["extraction"]
    assert set(measured) == {"material", "pattern", "neckline", "sleeve", "colour"}
    for name, figures in measured.items():
        assert figures["n"] >= 400, name
        assert figures["precision"] >= 0.98, name
        assert figures["recall"] >= 0.95, name
    truth = pd.read_parquet(made.folder / "truth.parquet").set_index("item_id")
    assert len(truth) == 800
    assert set(truth.columns) == set(measured)


def test_a_schema_of_another_shape_is_answered() -> None:
    with pytest.raises(ConfigError, match=r"attributes.fit needs values, .* it has words"):
        Schema(garments={}, attributes={"fit": {"words": {"slim": ["slim"]}}})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"big": []}, r"size\.values\.big: \[\] is not a list of phrases"),
        ({"small": None}, r"size\.values\.small: None is not a list of phrases"),
        ({"red": "red"}, r"size\.values\.red: red is not a list of phrases"),
        ({"plus": ["+"]}, r"size\.values\.plus: the phrase '\+' has no letter or digit"),
        ({"stop": ["large", "."]}, r"size\.values\.stop: the phrase '\.' has no letter"),
        ({"no": [False]}, r"size\.values\.no: False is not a text; put words .* in quotes"),
        ({"none": [None]}, r"size\.values\.none: None is not a text"),
        ({True: ["yes"]}, r"size\.values: True is no value; put it in quotes"),
        ({"one": ["large*"]}, r"size\.values\.one: 'large\*' counts only beside one of"),
    ],
)
def test_a_phrase_that_no_text_holds_is_named(values: dict[Any, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.schema\.attributes\." + message):
        Schema(garments={}, attributes={"size": {"values": values}})


def test_nouns_heads_and_names_are_checked_too() -> None:
    with pytest.raises(ConfigError, match=r"data\.schema\.garments\.upper: the phrase '-'"):
        Schema(garments={"upper": ["-"]}, attributes={})
    with pytest.raises(ConfigError, match=r"data\.schema\.names: the phrase '&'"):
        Schema(garments={}, attributes={}, names=["&"])
    neck = {"values": {"round": ["round*"]}, "heads": ["shirt collar"]}
    with pytest.raises(ConfigError, match=r"neckline\.heads: 'shirt collar' must be one word"):
        Schema(garments={}, attributes={"neckline": neck})


def test_numbers_are_phrases_and_values() -> None:
    sizes = Schema(
        garments={},
        attributes={"size": {"values": {"s36": [36], 38: [38], "wide": [40.5]}}},
    )
    found = [sizes.read(f"Shoe size {size}", "shoes") for size in ("36", "38", "40.5", "40")]
    assert found == [{"size": "s36"}, {"size": "38"}, {"size": "wide"}, {}]
    assert sizes.phrases("size", "38") == ["38"]


def test_words_of_any_script_are_read() -> None:
    schema = Schema(
        garments={"full": ["连衣裙", "Kleid"], "upper": ["衬衫", "chemise"]},
        attributes={
            "colour": {
                "values": {"red": ["红色", "rouge", "लाल"], "green": ["grün"], "u": ["ü"]},
            },
            "pattern": {"values": {"striped": ["条纹", "rayé", "สีแดง"]}},
        },
    )
    expected = {
        "一条红色连衣裙，条纹": {"colour": "red", "pattern": "striped"},  # noqa: RUF001
        "白色": {},
        "Ein Kleid, gru\u0308n": {"colour": "green"},  # the umlaut as a letter of its own
        "Gr\u00dcN": {"colour": "green"},
        "grünlich": {},
        "chemise rayée": {},
        "CHEMISE RAYÉ": {"pattern": "striped"},
        "लाल शर्ट": {"colour": "red"},
        "ลาเสื้อสีแดงสวย": {"pattern": "striped"},
    }
    assert {text: schema.read(text, "unknown") for text in expected} == expected
    assert schema.split_category("条纹衬衫") == ("衬衫", "striped")


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Red Tape Men Black Casual Shoes", {"gender": "men", "colour": "black"}),
        ("Red Tape Men Casual Shoes", {"gender": "men"}),
        ("Red Chief Men Tan Shoes", {"gender": "men", "colour": "brown"}),
        ("Black Coffee Men White Shirt", {"gender": "men", "colour": "white"}),
        ("Pepe Jeans Men Blue Cotton Shirt", {"gender": "men", "colour": "blue",
                                              "material": "cotton"}),
        ("Red Tapered Trousers", {"colour": "red"}),
    ],
)  # fmt: skip
def test_a_brand_states_nothing(schema: Schema, title: str, expected: dict[str, str]) -> None:
    assert schema.read(title, "unknown") == expected


OWN_WORDS = Schema(
    garments={
        "upper": ["shirt", "tank shirt", "tee"],
        "outer": ["coat"],
        "full": ["dress"],
        "lower": ["shorts", "skirt"],
    },
    attributes={
        "material": {"values": {"cotton": ["cotton"], "denim": ["denim"], "wool": ["wool"]}},
        "colour": {"values": {"red": ["red"], "blue": ["blue"], "navy": ["navy", "navy blue"]}},
        "neckline": {
            "garments": ["upper", "outer", "full"],
            "heads": ["neckline", "collar"],
            "values": {"round": ["round*"], "square": ["square*"]},
        },
        "gender": {"of": "text", "values": {"women": ["women"], "men": ["men"]}},
    },
)


@pytest.mark.parametrize(
    ("text", "owners"),
    [
        # a value stands before its noun
        ("A red cotton shirt and blue denim shorts", {
            "shirts": {"colour": "red", "material": "cotton"},
            "shorts": {"colour": "blue", "material": "denim"},
        }),
        # or behind it, with a word of its own kind, with none, and with a verb
        ("A tank shirt with cotton fabric and shorts with denim fabric.", {
            "shirts": {"material": "cotton"}, "shorts": {"material": "denim"},
        }),
        ("A tank shirt with cotton and shorts with denim.", {
            "shirts": {"material": "cotton"}, "shorts": {"material": "denim"},
        }),
        ("A tank shirt of cotton, shorts of denim", {
            "shirts": {"material": "cotton"}, "shorts": {"material": "denim"},
        }),
        ("The shirt is cotton and the shorts are denim", {
            "shirts": {"material": "cotton"}, "shorts": {"material": "denim"},
        }),
        # two adjectives and one noun: the first of an attribute counts
        ("Denim shorts, and a red and blue wool shirt", {
            "shirts": {"colour": "red", "material": "wool"}, "shorts": {"material": "denim"},
        }),
        # the nearest noun behind, not the one after it
        ("Cotton shirt shorts", {"shirts": {"material": "cotton"}, "shorts": {}}),
        # a pronoun is the last garment that can have what is said of it
        ("Denim shorts. A shirt. It is wool.", {
            "shirts": {"material": "wool"}, "shorts": {"material": "denim"},
        }),
        ("A shirt. Shorts. It is wool.", {"shirts": {}, "shorts": {"material": "wool"}}),
        ("A coat. Shorts. It has a round neckline.", {
            "coats": {"neckline": "round"}, "shorts": {}, "shirts": {"neckline": "round"},
        }),
        ("A coat over a shirt. It has a round neckline.", {
            "coats": {}, "shirts": {"neckline": "round"},
        }),
        # no adjective reaches into the next sentence
        ("Shorts in red. Denim. A shirt.", {
            "shorts": {"colour": "red", "material": "denim"}, "shirts": {},
        }),
        ("A coat. Wool. Shorts, blue", {
            "coats": {"material": "wool"}, "shorts": {"colour": "blue"},
        }),
        # nor over a preposition or a mark, unless nothing stands before
        ("A shirt, red, of cotton, shorts", {
            "shirts": {"colour": "red", "material": "cotton"}, "shorts": {},
        }),
        ("Red, a shirt and shorts", {"shirts": {"colour": "red"}, "shorts": {}}),
        ("Red. A shirt", {"shirts": {}}),
        # what is said of the text is everybody's
        ("Men: a blue shirt", {
            "shirts": {"gender": "men", "colour": "blue"},
            "shorts": {"gender": "men"},
        }),
        # a text without a garment is the item's
        ("Navy blue, cotton, round collar", {
            "shirts": {"colour": "navy", "material": "cotton", "neckline": "round"},
            "shorts": {"colour": "navy", "material": "cotton"},
            "unknown": {"colour": "navy", "material": "cotton", "neckline": "round"},
        }),
        # a text of another garment is not
        ("Denim shorts", {"shirts": {}, "shorts": {"material": "denim"}}),
        # worn about the body, it may be called by another name; the first of those counts
        ("A wool coat, a red dress", {
            "tees": {"material": "wool"}, "dresses": {"colour": "red"},
            "coats": {"material": "wool"},
        }),
        # every mention of the garment is it
        ("A shirt and shorts. The shirt is red. The shorts are blue. The shirt is cotton.", {
            "shirts": {"colour": "red", "material": "cotton"}, "shorts": {"colour": "blue"},
        }),
    ],
)  # fmt: skip
def test_a_value_belongs_to_the_garment_that_it_is_said_of(
    text: str, owners: dict[str, dict[str, str]]
) -> None:
    for category, expected in owners.items():
        assert OWN_WORDS.read(text, category) == expected, category


@pytest.mark.parametrize(
    ("text", "neckline"),
    [
        ("A dress with a round deep neckline", "round"),
        ("A dress, round a b c d neckline", "round"),  # the fifth word
        ("A dress, round a b c d e neckline", None),
        ("A dress, neckline a b c d round", "round"),
        ("A dress, neckline a b c d e round", None),
        ("A round dress. The neckline is square", "square"),
        ("A neckline of a dress. Round", None),
        ("A dress, no round neckline, square collar", "square"),
        ("A dress, not with a round neckline", None),
        ("A dress without any round collar", None),
        ("A dress without buttons, round neckline", "round"),
    ],
)
def test_a_value_that_needs_a_head_has_one_within_reach_and_is_not_denied(
    text: str, neckline: str | None
) -> None:
    assert OWN_WORDS.read(text, "dresses").get("neckline") == neckline


def test_the_slot_of_a_category_is_that_of_its_last_word_or_first_kind() -> None:
    slots = {
        "Shirts": "upper", "shirt dress": "full", "dress shirt": "upper", "Coats_Shirts": "outer",
        "shirt/dress": "full", "Handbags": None, "unknown": None, "Bags_Shorts": "lower",
    }  # fmt: skip
    assert {category: OWN_WORDS.slot(category) for category in slots} == slots


def test_labels_state_values_and_values_have_phrases() -> None:
    assert OWN_WORDS.value("colour", "Dark Navy Blue") == "navy"
    assert OWN_WORDS.value("material", "Navy Blue") is None
    assert OWN_WORDS.phrases("colour", "navy") == ["navy", "navy blue"]
    assert OWN_WORDS.phrases("colour", "green") == []
    assert OWN_WORDS.phrases("fit", "slim") == []


def test_a_word_list_is_read_by_its_name_or_its_path(tmp_path: Path) -> None:
    """The named list, a copy of its file, and its content as a mapping are one schema."""
    named = Schema.from_config("fashion")
    packaged = Path(attribute_parser.__file__).parent / "schemas" / "fashion.yaml"
    copy = tmp_path / "mine.yaml"
    copy.write_text(packaged.read_text())
    whole = yaml.safe_load(packaged.read_text())
    former = {"_target_": "fashret.data.attributes.Schema", **whole}
    assert len(named.attributes) == 6
    for other in (str(copy), whole, {"base": "fashion"}, named):
        assert Schema.from_config(other) == named
    for written in (
        former,
        {"_target_": "fashret.data.attribute_parser.Schema", "base": "fashion"},
    ):
        cfg = composed("train", ["paths.output_dir=."])
        with open_dict(cfg):
            cfg.data.schema = written
        assert build(cfg.data).parser == named


@pytest.mark.parametrize("data", ["sample", "fashion_products", "hm"])
def test_the_key_of_a_prepared_set_is_that_of_its_words_however_they_are_given(data: str) -> None:
    packaged = Path(attribute_parser.__file__).parent / "schemas" / "fashion.yaml"
    whole = yaml.safe_load(packaged.read_text())

    def key(schema: object) -> str:
        cfg = composed("train", [f"data={data}", "paths.output_dir=."])
        with open_dict(cfg):
            cfg.data.schema = schema
        return digest(build(cfg.data).options())

    assert key("fashion") == key(str(packaged)) == key(whole) == key({"base": "fashion"})
    changed = {"base": "fashion", "attributes": {"material": {"values": {"denim": ["chambray"]}}}}
    assert key(changed) != key("fashion")


def test_sets_that_were_prepared_with_the_first_words_stay_so() -> None:
    known = {"sample": "a81ad1aa94f1", "fashion_products": "b6fd34447b38", "hm": "64f2e2b7311c"}
    for data, key in known.items():
        words = [] if data == "sample" else ["data.schema=first_edition"]
        cfg = composed("train", [f"data={data}", "paths.output_dir=.", *words])
        assert digest(build(cfg.data).options()) == key


def test_single_words_of_a_word_list_are_changed(tmp_path: Path) -> None:
    fashion = Schema.from_config("fashion")
    (tmp_path / "shop.yaml").write_text(
        "base: fashion\nattributes:\n  material:\n    values: {denim: [denim, chambray]}\n"
        "  gender: null\n"
    )
    (tmp_path / "outlet.yaml").write_text("base: shop.yaml\nnames: [chambray house]\n")
    outlet = Schema.from_config(str(tmp_path / "outlet.yaml"))
    assert outlet.names == ["chambray house"]
    assert set(outlet.attributes) == set(fashion.attributes) - {"gender"}
    assert outlet.garments == fashion.garments
    assert outlet.read("a chambray shirt", "shirts") == {"material": "denim"}
    assert outlet.read("a chambray house wool shirt", "shirts") == {"material": "wool"}
    assert Schema.from_config({"base": "fashion", "names": []}).names == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere.yaml", r"schema=nowhere\.yaml: file not found; give one of fashion, first_ed"),
        ({"names": []}, r"needs garments and attributes; to change .* data\.schema={base: fash"),
        ({"bas": "fashion"}, r"data\.schema has bas; a word list has garments, attributes, names"),
        ({"base": 3}, r"data\.schema\.base=3: this is not a word list"),
        ({"garments": {}, "attributes": [1]}, r"data\.schema\.attributes: \[1\] is no mapping"),
    ],
)  # fmt: skip
def test_a_word_list_that_is_none_is_answered(value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Schema.from_config(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a", "the file cannot be read"),
        ("- a", "a word list is a mapping of garments, attributes, names"),
        ("names: [a]\nnames: [b]", r"names \(line 1\), names \(line 2\) occurs twice"),
        ("base: mine.yaml", "the file names itself as its base"),
    ],
)
def test_a_file_that_is_no_word_list_is_answered(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        Schema.from_config(str(tmp_path / "mine.yaml"))


def test_overrides_of_single_words_go_on_working() -> None:
    changed, notes = with_schema_overrides(
        ["data=hm", "data.schema.names=[]", "~data.schema.attributes.gender", "seed=1"]
    )
    assert changed == [
        "data.schema={base: fashion}", "data=hm", "++data.schema.names=[]",
        "++data.schema.attributes.gender=null", "seed=1",
    ]  # fmt: skip
    assert len(notes) == 1
    assert notes[0].startswith("data.schema names a word list: in a file write data.schema: {base:")
    source = build(composed("train", ["data.root=x", "paths.output_dir=.", *changed]).data)
    assert source.parser.names == []
    assert "gender" not in source.parser.attributes
    assert len(source.parser.attributes) == 5
    own, _ = with_schema_overrides(["data.schema=my.yaml", "data.schema.names=[a]"])
    assert own == ["data.schema={base: my.yaml}", "++data.schema.names=[a]"]
    for untouched in (["data.schema=my.yaml"], ["data.schema=null", "seed=1"], []):
        assert with_schema_overrides(untouched) == (untouched, [])


@pytest.mark.parametrize(
    ("text", "category", "expected"),
    [
        ("lace-up boots in suede", "shoes", {"material": "suede"}),
        ("sneakers with shoe laces", "shoes", {}),
        ("a lace dress", "dresses", {"material": "lace"}),
        ("faux leather jacket", "jackets", {"material": "faux_leather"}),
        ("vegan leather bag", "bags", {"material": "faux_leather"}),
        ("leather-look leggings", "leggings", {"material": "faux_leather"}),
        ("genuine leather jacket", "jackets", {"material": "leather"}),
        ("denim-look trousers", "pants", {}),
        ("silk-like blouse", "blouses", {}),
        ("jacket free of leather", "jackets", {}),
        ("leather-free bag", "bags", {}),
        ("polo neck sweater", "sweaters", {"neckline": "high"}),
        ("roll neck jumper", "sweaters", {"neckline": "high"}),
        ("crewneck t-shirt", "tees", {"neckline": "crew"}),
        ("Polo Ralph Lauren V-Neck Sweater", "sweaters", {"neckline": "v_neck"}),
        ("shirt with 3/4th sleeves", "shirts", {"sleeve": "medium"}),
        ("elbow-length sleeve blouse", "blouses", {"sleeve": "medium"}),
        ("rose gold watch", "watches", {"colour": "rose_gold"}),
        ("lilac dress", "dresses", {"colour": "purple"}),
        ("gingham shirt dress", "dresses", {"pattern": "checked"}),
        ("t-shirt, no print", "tees", {"pattern": "solid"}),
        ("Miami Blues shirt in white", "shirts", {"colour": "white"}),
        ("Black Coffee kurta", "kurtas", {}),
        ("Women Cotton Free Size Dress", "dresses", {"material": "cotton", "gender": "women"}),
        ("denim like new jacket", "jackets", {}),
        ("free cotton bag", "bags", {"material": "cotton"}),
        ("black dress with elbow length gloves", "dresses", {"colour": "black"}),
        ("Men Cotton Polo Dress Shirt", "shirts", {"material": "cotton", "gender": "men"}),
    ],
)
def test_what_only_sounds_like_a_value_states_none(
    text: str, category: str, expected: dict[str, str]
) -> None:
    assert Schema.from_config("fashion").read(text, category) == expected


def test_a_word_list_says_what_a_value_does_not_stand_before() -> None:
    values = {"denim": ["denim"]}
    changed = {"attributes": {"material": {"values": values, "not_before": ["style"]}}}
    schema = Schema.from_config({"garments": {"lower": ["pants"]}} | changed)
    assert schema.read("denim style pants", "pants") == {}
    assert schema.read("denim pants, new style", "pants") == {"material": "denim"}
    changed["attributes"]["material"]["not_before"] = ["two words"]
    with pytest.raises(ConfigError, match=r"data.schema.attributes.material.not_before"):
        Schema.from_config({"garments": {"lower": ["pants"]}} | changed)
