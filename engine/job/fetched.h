// Inputs that are named by a URL: copied into files first, so that everything else reads files.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/request/request.h"

namespace wan {

/// The file that a copy of `url` is kept in: `prefix`, 32 hexadecimal digits of the URL and ".input".
std::string copy_path(const std::string& prefix, const std::string& url);

/// The media of a request as files. http(s) and data URLs are fetched through libav* with a limit in bytes and in
/// silence (30 s); paths are passed on.
class FetchedMedia {
 public:
  /// Puts the copies' paths into the URL fields of `request`. With a `prefix` a copy lies at copy_path, each URL once,
  /// and one that is kept there is taken as it is; its folder is made. Without, it is a temporary file. Throws
  /// InvalidRequest naming the field where a URL cannot be read.
  explicit FetchedMedia(Request& request, std::string prefix = "");
  /// Removes what this object fetched, unless it is kept.
  ~FetchedMedia();
  FetchedMedia(const FetchedMedia&) = delete;

  /// Leaves the copies where they are. For when they have proved readable, and later work needs the same bytes again.
  void keep() { fetched_.clear(); }
  /// Does `work`. An InvalidRequest that names a copy leaves with the URL in its place.
  void reading(const std::function<void()>& work) const;

 private:
  struct Copy {
    std::string path, url;
  };

  void fetch(std::string& url, const char* field);
  std::string temporary_copy(const std::string& url, const char* field);
  std::string lasting_copy(const std::string& url, const char* field);
  void remove_fetched();

  std::string prefix_;
  std::vector<Copy> copies_;
  std::vector<std::string> fetched_;  // what the destructor removes, from the last on
};

}  // namespace wan
