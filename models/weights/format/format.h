// The formats of checkpoint files. Each is one source file of this folder that defines a Format, and a row of formats().
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/weights/stored_tensor.h"

namespace wan {

/// One format of checkpoint file.
struct Format {
  /// By the file's extension, with its dot.
  bool (*has_extension)(std::string_view extension);
  /// By the file's first bytes, for a name that says nothing: download caches take the extension away.
  bool (*has_content)(std::string_view bytes);
  /// The tensors, from the file's descriptions alone. Throws ModelError for a file that is truncated, hostile or another.
  StoredTensors (*read)(const std::shared_ptr<const MappedFile>& file);
  /// The bytes that say what the file holds, without its data. Throws ModelError.
  std::vector<std::string_view> (*header)(const std::shared_ptr<const MappedFile>& file);
  /// Texts that the file holds beside its tensors, by their names; null for a format without any that count.
  std::map<std::string, std::string> (*metadata)(const std::shared_ptr<const MappedFile>& file) = nullptr;
};

/// All formats, in the order in which they are asked: first each for the extension, then each for the content.
std::span<const Format* const> formats();
/// The file's format; null where none recognises it.
const Format* format_of(const MappedFile& file);

/// The tensors of a checkpoint file in whatever format. Throws ModelError.
StoredTensors read_tensors(const std::shared_ptr<const MappedFile>& file);
/// The bytes that say what a checkpoint file holds, without its data: length and JSON of a safetensors file; the table
/// and data.pkl of an archive; the pickles of an older torch file; metadata and descriptions of a GGUF file; the whole
/// of any other file. Throws ModelError.
std::vector<std::string_view> header_of(const std::shared_ptr<const MappedFile>& file);
/// The texts that a checkpoint file holds beside its tensors, by their names. Throws ModelError.
std::map<std::string, std::string> metadata_of(const std::shared_ptr<const MappedFile>& file);

}  // namespace wan
