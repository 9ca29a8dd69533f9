// Inputs that are named by a URL: copied into a temporary file first, so that everything else reads files.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/request/request.h"

namespace wan {

/// The media of a request as files. http(s) and data URLs are fetched through libav* with a limit in bytes and in
/// silence (30 s); paths are passed on. The copies go with this object.
class FetchedMedia {
 public:
  /// Puts the copies' paths into the URL fields of `request`. Throws InvalidRequest naming the field where a URL cannot
  /// be read.
  explicit FetchedMedia(Request& request);

 private:
  void fetch(std::string& url, const char* field);

  struct Copies {
    Copies() = default;
    Copies(const Copies&) = delete;
    Copies& operator=(const Copies&) = delete;
    ~Copies();
    std::vector<std::string> paths;
  } copies_;
};

}  // namespace wan
