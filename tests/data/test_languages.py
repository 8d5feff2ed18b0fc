"""Languages of titles: the main ones are found, brands and numbers are none."""

import pytest

from fashret.data.languages import languages

TITLES = {
    "German": ["Ärmelloses Kleid aus Baumwolle", "Schwarze Lederjacke mit Kragen",
               "Rundhalspullover mit Streifen", "Kurze Hose aus Leinen für Herren"],
    "French": ["Robe noire à manches longues", "Chemise en lin blanche pour homme",
               "Pull à col roulé en laine", "Jupe plissée à motif fleuri"],
    "Spanish": ["Vestido rojo de algodón con cuello", "Camisa de lino blanca para hombre",
                "Falda plisada con estampado de flores", "Chaqueta de cuero negra"],
    "English": ["Red cotton dress with short sleeves", "Black leather jacket for women",
                "Striped sweater with a round neck", "Pleated skirt with floral print"],
}  # fmt: skip


@pytest.mark.parametrize("name", TITLES)
def test_titles_of_one_language_are_of_it(name: str) -> None:
    found = languages(TITLES[name] * 5)
    assert next(iter(found)) == name
    assert found[name] >= 0.75


def test_two_languages_are_both_named_and_what_is_no_word_is_none() -> None:
    assert set(languages(TITLES["German"] + TITLES["French"])) >= {"German", "French"}
    assert languages(["501", "90/2", ""]) == {}
    assert languages([]) == {}
