#include "engine/media/metadata.h"

#include <nlohmann/json.hpp>

#include "engine/media/input.h"

namespace wan {

std::string read_metadata(const std::string& path, const std::string& field) {
  av::Source source{path, field, "a video written by wan-infer"};
  av::Input input(source, AVMEDIA_TYPE_VIDEO);
  const AVDictionaryEntry* comment = av_dict_get(input.format().metadata, "comment", nullptr, 0);
  if (!comment) source.refuse("it carries no comment");
  std::string text = comment->value;
  if (text.empty() || text[0] != '{' || !nlohmann::json::accept(text)) source.refuse("its comment is no JSON object");
  return text;
}

}  // namespace wan
