#include "engine/residency/weight_cache.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <system_error>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/residency/cache_form.h"
#include "models/files/atomic_file.h"
#include "models/files/digest.h"
#include "models/files/error.h"
#include "models/files/source_file.h"
#include "models/weights/convert/part_file.h"
#include "models/weights/format/format.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Raised whenever files of the cache would have to be made anew.
constexpr const char* kVersion = "2";
/// Its name among the texts of a file.
constexpr const char* kKey = "wan_cache_key";
/// Bytes of a disk that a copy leaves free.
constexpr uint64_t kMargin = 1 << 30;

const char* word(convert::Target target) {
  return target == convert::Target::Int8 ? "int8" : "bf16";
}

fs::path statement_of(const fs::path& file) {
  return file.string() + ".json";
}

Model model_of(Network network) {
  if (network == Network::TextEncoder) return Model::TextEncoder;
  return network == Network::Speech ? Model::Speech : Model::TextExpert;
}

std::string digest_of(const fs::path& file, IdentityCache& identities) {
  return identify({{file, file.filename().string(), "", ""}}, identities).at(0).digest;
}

/// What a copy was made of: the source files, and the form.
struct Key {
  std::string exact;  // with all that the system knows of the files: what was written to a file shows in it
  std::string loose;  // without inodes and times of change, which `cp -a`, a new name and `chmod` give anew, too
};

Key key_of(const ModelPart& part, const CacheForm& form, IdentityCache& identities) {
  std::string exact = std::string(kVersion) + " " + word(form.target) + "\n", loose = exact;
  for (const fs::path& file : Checkpoint::paths(part.path)) {
    const FileState state = state_of(file);
    const std::string known =
        digest_of(file, identities) + " " + std::to_string(state.size) + " " + std::to_string(state.modified);
    loose += known + "\n";
    exact += known + " " + std::to_string(state.inode) + " " + std::to_string(state.changed) + "\n";
  }
  for (const std::string& name : form.changed) exact += name + "\n", loose += name + "\n";
  return {sha256({exact}), sha256({loose})};
}

/// What every writing to a file changes. The number of its device is not: it may be another after a restart.
json as_json(const FileState& state) {
  return {state.inode, state.size, state.modified, state.changed};
}

/// Why a copy is not what `key` stands for, by what is said of it. Empty where it is.
std::string fault_of(const json& said, const Key& key) {
  if (!said.is_object() || !said.contains("key") || !said.contains("content")) return "was not finished";
  if (said["key"] == key.exact) return "";
  if (said.value("loose_key", json()) == key.loose)
    return "was made before its files got new inodes or times of change (cp -a, chmod, a new name); whether they were "
           "written to as well cannot be told without reading all of them";
  return "was made from other files, or for other settings";
}

/// What the cache has of a network: the copy, or why there is none.
struct Found {
  std::optional<CachedCopy> copy = std::nullopt;
  std::string fault = "";  // empty where there is no file either
};

/// Its bytes are not read but for the samples: who writes to it changes its time, which cannot be set back.
Found find(const fs::path& file, const Key& key, IdentityCache& identities) {
  const Found damaged{.fault = "is damaged, or was written to"};
  std::error_code unknown;
  if (!fs::exists(file, unknown)) return {};
  try {
    std::ifstream in(statement_of(file), std::ios::binary);
    const json said = json::parse(in, nullptr, /*allow_exceptions=*/false);
    if (std::string fault = fault_of(said, key); !fault.empty()) return {.fault = std::move(fault)};
    const FileState state = state_of(file);
    Checkpoint copy = Checkpoint::open(file);
    const auto texts = metadata_of(copy.files().at(0));
    const auto written = texts.find(kKey);
    if (written == texts.end() || written->second != key.exact) return {.fault = "is another file than was written"};
    if (said.value("state", json()) != as_json(state) || said["content"] != digest_of(file, identities)) return damaged;
    if (state_of(file) != state) return damaged;  // another one was put in its place meanwhile
    return {.copy = CachedCopy{std::move(copy), state}};
  } catch (const ModelError&) {  // it may have gone meanwhile, too
    return damaged;
  } catch (const json::exception&) {
    return {.fault = "was not finished"};
  }
}

void write_statement(const fs::path& file, const Key& key, const ModelPart& part, IdentityCache& identities) {
  const json said = {{"key", key.exact},
                     {"loose_key", key.loose},
                     {"content", digest_of(file, identities)},
                     {"state", as_json(state_of(file))},
                     {"made_from", part.name}};
  AtomicFile out(statement_of(file).string());
  const std::string text = said.dump(1) + "\n";
  out.write(text.data(), text.size());
  out.commit();
}

std::optional<uint64_t> free_on_disk(const fs::path& folder) {
  std::error_code unknown;
  const fs::space_info space = fs::space(folder, unknown);
  if (unknown) return std::nullopt;
  return uint64_t(space.available);
}

/// Bytes that an interrupted run has written already.
uint64_t begun_bytes(const fs::path& file) {
  struct stat part {};
  return stat((file.string() + ".part").c_str(), &part) == 0 ? uint64_t(part.st_blocks) * 512 : 0;
}

/// One network on its way into the cache.
struct Entry {
  Network network;
  const ModelPart& part;
  const Checkpoint& source;
  const CacheForm& form;
  fs::path file;
  FreeSpace free_space;

  std::string subject() const { return field_of(network); }
  void leave(Notes& notes, const std::string& why) const {
    notes.add({subject(), "is loaded from its own files, not from a copy in --cache-dir: " + why, ""});
  }

  /// Throws ModelError where the source is another than `key` was made of.
  void check_source(const Key& key, IdentityCache& identities) const {
    if (key_of(part, form, identities).exact != key.exact)
      throw convert::SourceRefused(
          part.path.string(), "must stay as it is while it is copied, was written to; start again once it is whole");
  }

  /// False, with a note, where there is no room for it now.
  bool has_room(Notes& notes) const {
    const std::optional<uint64_t> free = free_space(file.parent_path());
    const uint64_t room = free.value_or(0) + begun_bytes(file);
    if (!free || room >= form.bytes + kMargin) return true;
    leave(notes, "that takes " + gigabytes(form.bytes) + " and 1.07 GB to spare, its disk has " + gigabytes(room) +
                     " free; make room, or name a folder on another disk");
    return false;
  }

  void tell(const std::string& fault, Notes& notes) const {
    if (!fault.empty()) notes.add({subject(), "has a copy in --cache-dir that " + fault + ": it is made anew", ""});
    notes.add({subject(),
               "is written as " + std::string(word(form.target)) + " to --cache-dir: " + gigabytes(source.bytes()) +
                   " of its files take " + gigabytes(form.bytes) + " there; its weights are the same",
               "without --cache-dir nothing is written"});
  }

  /// Another program may fill the disk while the copy is written, which takes minutes.
  void check_disk() const {
    const std::optional<uint64_t> free = free_space(file.parent_path());
    if (free && *free < kMargin / 2)
      throw convert::DiskFull("the disk of --cache-dir became full while the copy was written: " + gigabytes(*free) +
                              " are free, and 0.54 GB are left to others; make room, or "
                              "name a folder on another disk");
  }

  /// The copy, written now or meanwhile by another run. Nothing, with a note, where it cannot be written.
  std::optional<CachedCopy> write(const Key& key, IdentityCache& identities, Notes& notes,
                                  const CacheStep& step) const {
    if (!has_room(notes)) return std::nullopt;
    bool stopped = false;  // by the caller
    const convert::Step watched = [&](int64_t finished, int64_t all) {
      check_disk();
      stopped = true;
      if (step) step(file, form.bytes, finished, all);
      stopped = false;
    };
    Found found;
    const auto is_there = [&] {
      found = find(file, key, identities);
      if (!found.copy) tell(found.fault, notes);
      return found.copy.has_value();
    };
    try {
      const convert::Options options{.changes = [&](const std::string& name) { return form.changed.contains(name); },
                                     .metadata = {{kKey, key.exact}},
                                     .check = [&] { check_source(key, identities); },
                                     .is_there = is_there,
                                     .discard_when_full = true};
      convert::convert(source, model_of(network), form.target, file, key.exact, {.step = watched}, options);
      if (found.copy) return std::move(found.copy);
      write_statement(file, key, part, identities);
      found = find(file, key, identities);
      if (found.copy) return std::move(found.copy);
      leave(notes, "that was just written and " + (found.fault.empty() ? "is gone" : found.fault));
    } catch (const std::exception& error) {
      if (stopped) throw;
      leave(notes, error.what());
    }
    return std::nullopt;
  }
};

}  // namespace

bool is_kept_once_more(Network network) {
  return network == Network::HighNoise || network == Network::LowNoise || network == Network::Speech;
}

void check_cache_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder))
    throw InvalidRequest("cache_dir", "must be a folder, or one that can be made; " + shown_path(folder.string()) +
                                          " is not" + (error ? ": " + error.message() : ""));
  if (access(folder.c_str(), W_OK | X_OK) != 0)
    throw InvalidRequest("cache_dir", "must be a folder that can be written to, " + shown_path(folder.string()) +
                                          " cannot; name another one");
}

fs::path cached_file(const fs::path& folder, const ModelPart& part, convert::Target target) {
  std::string shown;
  for (char c : part.name)
    shown +=
        (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '.' ? c : '-';
  // Two models may have parts of one name, and one part several paths, by links.
  std::error_code unknown;
  fs::path real = fs::weakly_canonical(part.path, unknown);
  if (unknown) real = fs::absolute(part.path).lexically_normal();
  const std::string place = sha256({real.string()}).substr(0, 12);
  return folder / (shown.substr(0, 80) + "-" + place + "-" + word(target) + ".safetensors");
}

std::optional<CachePlan> plan_of_cache(Network network, const ModelPart& part, const Checkpoint& source,
                                       const Place& place, const fs::path& folder) {
  if (folder.empty() || !is_kept_once_more(network)) return std::nullopt;
  const CacheForm form = cache_form(network, source, place, /*merged=*/false);
  if (!form.refusal.empty()) return std::nullopt;
  std::error_code ignored;
  IdentityCache identities;
  const bool is_there = fs::exists(cached_file(folder, part, form.target), ignored) &&
                        copy_there(network, part, source, place, /*merged=*/false, folder, identities);
  return CachePlan{.network = network,
                   .form = word(form.target),
                   .bytes = form.bytes,
                   .source_bytes = source.bytes(),
                   .is_there = is_there};
}

Checkpoint cached_headers(Network network, const Checkpoint& source, const Place& place) {
  if (!is_kept_once_more(network)) return source;
  const CacheForm form = cache_form(network, source, place, /*merged=*/false);
  if (!form.refusal.empty() || form.target != convert::Target::Bf16) return source;
  StoredTensors tensors = source.tensors();
  for (const std::string& name : form.changed) tensors.at(name).dtype = at::kBFloat16;
  return source.renamed(std::move(tensors));
}

bool is_cached(const Checkpoint& checkpoint, const fs::path& folder) {
  if (folder.empty() || checkpoint.files().size() != 1) return false;
  const fs::path& file = checkpoint.files()[0]->path();
  return file == folder / file.filename();
}

std::optional<CachedCopy> copy_there(Network network, const ModelPart& part, const Checkpoint& source,
                                     const Place& place, bool merged, const fs::path& folder,
                                     IdentityCache& identities) {
  const CacheForm form = cache_form(network, source, place, merged);
  if (!form.refusal.empty()) return std::nullopt;
  return find(cached_file(folder, part, form.target), key_of(part, form, identities), identities).copy;
}

std::optional<CachedCopy> cached(Network network, const ModelPart& part, const Checkpoint& source, const Place& place,
                                 bool merged, const fs::path& folder, IdentityCache& identities, Notes& notes,
                                 const CacheStep& step, const FreeSpace& free_space) {
  const CacheForm form = cache_form(network, source, place, merged);
  const Entry entry{network,
                    part,
                    source,
                    form,
                    cached_file(folder, part, form.target),
                    free_space ? free_space : FreeSpace(free_on_disk)};
  if (!form.refusal.empty()) {
    entry.leave(notes, form.refusal);
    return std::nullopt;
  }
  const Key key = key_of(part, form, identities);
  if (Found found = find(entry.file, key, identities); found.copy) return std::move(found.copy);
  try {
    check_cache_folder(folder);
  } catch (const InvalidRequest& refused) {
    entry.leave(notes, "--cache-dir " + refused.errors.at(0).wrong);
    return std::nullopt;
  }
  return entry.write(key, identities, notes, step);
}

}  // namespace wan
