#include "engine/media/metadata.h"

#include "engine/media/input.h"
#include "models/files/json.h"

namespace wan {

namespace {

/// JSON that anyone may copy and print: both recurse with the nesting.
bool is_shallow_json(const std::string& text) {
  try {
    parse_json(text, {.bytes = 16 << 20, .depth = 16, .values = 20'000});
    return true;
  } catch (const BrokenJson&) {
    return false;
  }
}

}  // namespace

std::string read_metadata(const MediaFile& file) {
  av::Source source{file, "a video written by wan-infer"};
  av::Input input(source, AVMEDIA_TYPE_VIDEO);
  const AVDictionaryEntry* comment = av_dict_get(input.format().metadata, "comment", nullptr, 0);
  if (!comment) source.refuse("it carries no comment; --metadata none writes none");
  std::string text = comment->value;
  if (text.empty() || text[0] != '{' || !is_shallow_json(text)) source.refuse("its comment is no JSON object of ours");
  return text;
}

}  // namespace wan
