"""Support overrides of single keys of `data.schema`, the word list. Light to import."""

import re

_CHANGE = re.compile(r"(\+\+|\+|~)?(data(?:\.parts\.\w+)?\.schema)\.([^=]+)(?:=(.*))?", re.DOTALL)
_NAME = re.compile(r"\+{0,2}(data(?:\.parts\.\w+)?\.schema)=([^{}]+)")


def with_schema_overrides(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Turn overrides such as `data.schema.names=[]` into changes of the named word list.

    `data.schema` was once the whole schema, whose keys could be overridden; they still can.

    Args:
        arguments: the command line, without the program.

    Returns:
        The arguments for Hydra, and notes on how to write such changes in a file.

    >>> with_schema_overrides(["data.schema.names=[]"])[0]
    ['data.schema={base: fashion}', '++data.schema.names=[]']
    """
    changed = {change[2] for a in arguments if (change := _CHANGE.fullmatch(a))}
    names = {name[1]: name[2] for a in arguments if (name := _NAME.fullmatch(a))}
    given = {a.lstrip("+").split("=")[0] for a in arguments if not _NAME.fullmatch(a)}
    bases = {schema: names.get(schema, "fashion") for schema in sorted(changed - given)}
    result = [f"{schema}={{base: {base}}}" for schema, base in bases.items()]
    for argument in arguments:
        change = _CHANGE.fullmatch(argument)
        if change is not None:  # a value that is removed is null, which removes that of the base
            value = "null" if change[1] == "~" else change[4]
            result.append(f"++{change[2]}.{change[3]}={value}")
        elif not ((name := _NAME.fullmatch(argument)) and name[1] in bases):
            result.append(argument)
    notes = [
        f"{schema} names a word list: in a file write {schema}: {{base: {base}, ...}} to change "
        "single words of it (docs/data.md#attributes-from-texts)"
        for schema, base in bases.items()
    ]
    return result, notes
