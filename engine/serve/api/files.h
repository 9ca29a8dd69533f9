// Files of the server: what clients uploaded, videos, previews. A name can be guessed by nobody: it begins with 128
// random bits.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "engine/serve/api/files_in_use.h"
#include "engine/serve/api/upload_room.h"
#include "engine/serve/net/exchange.h"
#include "engine/serve/net/pool.h"
#include "engine/serve/queue/jobs.h"

namespace wan::serve {

class Files {
 public:
  /// Folders `data`/uploads, outputs, previews and parts are made, readable by this user alone.
  Files(std::filesystem::path data, Jobs& jobs);

  /// A name for what a client calls `wanted`: 32 hexadecimal digits, "_", and `wanted` in [A-Za-z0-9._-], at most 100
  /// bytes.
  static std::string new_name(const std::string& wanted);
  /// The same for a file that belongs to one job (a data URL) and goes with it: it has "-" behind the digits, which no
  /// upload of a client has.
  static std::string new_input_name(const std::string& wanted);
  /// Whether a text has the form of one of these, so that it leads out of no folder.
  static bool is_name(std::string_view text);
  static bool is_input_name(std::string_view text);
  // `name` is one that is_name() takes, `key` and `upload` are of [A-Za-z0-9-]; std::invalid_argument otherwise.
  std::filesystem::path upload_path(const std::string& name) const;
  std::filesystem::path output_path(const std::string& name) const;
  std::filesystem::path preview_path(const std::string& key) const;  // of a job's preview_key
  std::filesystem::path parts_path(const std::string& upload) const;

  /// GET and HEAD /files/uploads/NAME, /files/outputs/NAME and /files/previews/KEY.jpg with Range, ETag, nosniff and a
  /// sandbox policy. The type is what the content shows (pictures, sound, video); else that which came with an upload,
  /// where it is one of these kinds; else application/octet-stream as an attachment. 404 for everything else; 416 for a
  /// range outside of the file.
  Awaitable<Answer> answer(Exchange& exchange);

  /// The same for a video by its name in outputs, whatever the path of the request is.
  Awaitable<Answer> output(const Exchange& exchange, std::string name);
  /// The picture that the worker of a job showed last, by the job's preview_key: a JPEG. Nothing where there is none.
  Awaitable<std::optional<Answer>> preview(std::string key);

  /// The upload that a URL of this server names: "B/files/uploads/NAME", whatever B a client used; nothing for others.
  std::optional<std::string> upload_of(const std::string& url, const Exchange& exchange) const;
  /// The same of "B/files/outputs/NAME".
  std::optional<std::string> output_of(const std::string& url, const Exchange& exchange) const;

  /// For what may block for a moment: looks at files, reads and writes of a piece.
  Pool& pool() { return pool_; }
  /// For what may take seconds: long JSON, joins and copies of uploads, their way to the disk. It holds up none of the
  /// above.
  Pool& slow_pool() { return slow_pool_; }
  FilesInUse& in_use() { return in_use_; }
  UploadRoom& room() { return room_; }

 private:
  Awaitable<std::string> type_that_came_with(const std::string& upload);

  std::filesystem::path data_;
  Jobs& jobs_;
  FilesInUse in_use_;
  UploadRoom room_;
  Pool pool_{2}, slow_pool_{2};
};

/// Whether a media type may be sent as a client named it: a picture, sound or video that is no text (SVG holds
/// scripts).
bool is_plain_media(std::string_view type);

}  // namespace wan::serve
