# The options of our modules as data, for the reference page: name, type, description, default, example.
{ lib, options }:
let
  text = value: if value == null then null else (lib.options.renderOptionValue value).text;
in
map
  (option: {
    inherit (option) name type;
    readOnly = option.readOnly or false;
    description = option.description.text or option.description;
    default = if option ? default then option.default.text or (text option.default) else null;
    example = if option ? example then option.example.text or (text option.example) else null;
    declared = map (file: lib.last (lib.splitString "/modules/" (toString file))) option.declarations;
  })
  (
    lib.filter (option: option.visible && !option.internal) (
      lib.optionAttrSetToDocList { keystone = options; }
    )
  )
