// A file that holds an input of a request.
#pragma once

#include <string>

#include "engine/base/text.h"

namespace wan {

struct MediaFile {
  std::string path;       // where the bytes lie; empty: the request has no such input
  std::string field;      // of the request, for messages: image_url
  std::string name = {};  // what messages call it, in quotes: the URL that it was fetched from; empty: the path

  std::string shown() const { return name.empty() ? shown_path(path) : name; }
};

}  // namespace wan
