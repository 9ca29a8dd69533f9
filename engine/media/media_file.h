// A file that holds an input of a request.
#pragma once

#include <cstdint>
#include <string>

#include "engine/base/text.h"

namespace wan {

/// The largest file of sound or video that is read: hours of any camera's. What is decoded is bounded by itself.
constexpr int64_t kMostMediaBytes = int64_t(16) << 30;

struct MediaFile {
  std::string path;       // where the bytes lie; empty: the request has no such input
  std::string field;      // of the request, for messages: image_url
  std::string name = {};  // what messages call it, in quotes: the URL that it was fetched from; empty: the path

  std::string shown() const { return name.empty() ? shown_path(path) : name; }
};

}  // namespace wan
