// Compares the files of a model with the checksums that were published with it: `wan-infer inspect --verify`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/base/progress.h"

namespace wan {

/// Unclear: an entry of a list without folders that several files have the name of.
enum class Verdict { Same, Differs, Absent, NotListed, Unreadable, Unclear };

struct VerifiedFile {
  std::string name;  // relative to the folder
  Verdict state = Verdict::NotListed;
  uint64_t bytes = 0;
  std::string wanted = {}, sha256 = {};  // 64 hexadecimal digits; empty where it is not listed, and where it is absent
  std::string list = {};                 // the list that names it
  std::string why = {};                  // it cannot be read, or what an unclear entry may stand for
  bool link = false;                     // it is a link that leads nowhere, as `why` says
};

struct Verification {
  std::string path;
  std::vector<std::string> lists;
  std::vector<VerifiedFile> files;  // by name

  int64_t count(Verdict state) const;
  /// Whether every file that a list names is there and the same.
  bool is_good() const;
  /// Throws a ModelError where no file was compared at all.
  void refuse_uncompared() const;
};

/// Reads every visible file under `path` (or that file alone) that a list names, and compares its SHA-256. The list is
/// `checksums`, as sha256sum writes it (also BSD's form); where that is empty, what lies in the folder: SHA256SUMS,
/// *.sha256, what hf download notes (.cache/huggingface), and the names of the blobs that links of its cache lead to.
/// An entry of `checksums` is that of the file at its place, else of the only file and only entry of its name: a list
/// made inside one expert's folder tells nothing of the shards of both, and its entries are Unclear.
/// A file or folder that cannot be read is told among the others. Throws ModelError where `path` or a list cannot, or a
/// list is wrong, InvalidRequest where there is no list, and Cancelled through `progress`.
Verification verify_files(const std::filesystem::path& path, const std::filesystem::path& checksums,
                          Progress& progress);

}  // namespace wan
