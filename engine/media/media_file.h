// A file that holds an input of a request.
#pragma once

#include <string>

namespace wan {

struct MediaFile {
  std::string path;       // where the bytes lie; empty: the request has no such input
  std::string field;      // of the request, for messages: image_url
  std::string name = {};  // what messages call it: the URL that it was fetched from; empty: the path

  const std::string& shown() const { return name.empty() ? path : name; }
};

}  // namespace wan
