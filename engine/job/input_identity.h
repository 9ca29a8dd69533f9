// Which pictures, videos and sounds a video was made from: told by their content.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "engine/request/request.h"
#include "models/files/digest.h"

namespace wan {

struct InputIdentity {
  std::string name;    // stored_name of what the request said
  uint64_t size = 0;   // bytes
  std::string sha256;  // of the content, lower-case hexadecimal digits
};

/// By field: image_url, audio_url, ...
using InputIdentities = std::map<std::string, InputIdentity>;

/// What files hold, each read once for as long as its path, inode, size and times of change stay what they were.
class InputContents {
 public:
  /// Throws std::system_error where the file cannot be read.
  const FileContent& of(const std::string& path);

 private:
  struct Moment {
    uint64_t device = 0, inode = 0, size = 0;
    int64_t modified = 0, changed = 0;  // nanoseconds since 1970
    bool operator==(const Moment&) const = default;
  };
  static Moment moment_of(const std::string& path);

  std::map<std::string, std::pair<Moment, FileContent>> known_;
};

/// The content of every input of `asked`, and of its calibration. `local` maps the field of an input that was fetched to the file of its bytes;
/// of the others the path in the request is read. A URL that is not in `local` is left out. Throws InvalidRequest naming
/// the field where a file cannot be read.
InputIdentities identify_inputs(const Request& asked, const std::map<std::string, std::string>& local,
                                InputContents& contents);
InputIdentities identify_inputs(const Request& asked, const std::map<std::string, std::string>& local = {});

/// The same with a request whose fields name the files, as FetchedMedia leaves it.
InputIdentities identify_inputs(const Request& asked, const Request& fetched);

/// What files say about an input: of a path its last component, of a URL what public_url keeps, of a data URL a digest,
/// "data:,HEX": it is the input itself, which can be larger than the video. Of a name that came from here, itself.
std::string stored_name(const std::string& input);
/// Of a model folder: its last component, also where it is named as "." or "..".
std::string stored_folder(const std::string& folder);

}  // namespace wan
