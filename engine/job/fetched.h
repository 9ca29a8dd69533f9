// The inputs of a request as files: those that are named by a URL are copied first, so that everything else reads files.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/base/progress.h"
#include "engine/job/input_identity.h"
#include "engine/media/media_file.h"
#include "engine/request/request.h"

namespace wan {

/// The inputs of one request; what it does not name has an empty path.
struct InputFiles {
  MediaFile image, last_image, video, audio, pose_video;

  /// All that the request names.
  std::vector<const MediaFile*> all() const;
  /// Their paths by field.
  std::map<std::string, std::string> by_field() const;
};

/// Where the copy of a URL lies in a work folder: 32 hexadecimal digits of the URL and ".input".
std::filesystem::path copy_path(const std::filesystem::path& folder, const std::string& url);

/// Paths as they are, and of each http(s) or data URL a copy in `folder`, which exists: fetched once, within the limits of
/// engine/fetch/download.h (pictures: kMostImageBytes, 5 minutes), and taken as it is where it is there already. Copies
/// stay until the caller removes them. `label` is the job's in reports. Throws InvalidRequest naming the field where a URL
/// cannot be read, and Cancelled as `progress` does; nothing half fetched is left.
InputFiles input_files(const Request& request, const std::filesystem::path& folder, Progress& progress,
                       const std::string& label = {});

/// What all inputs hold now; URLs are fetched for it into a folder that goes again. Throws as input_files and
/// identify_inputs.
InputIdentities identify_fetched(const Request& request, Progress& progress);

}  // namespace wan
