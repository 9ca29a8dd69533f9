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
#include "models/weights/format/format.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Raised whenever files of the cache would have to be made anew.
constexpr const char* kVersion = "1";
/// Its name among the texts of a file.
constexpr const char* kKey = "wan_cache_key";

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

/// Tells source files and form from all others.
std::string key_of(const ModelPart& part, const CacheForm& form, IdentityCache& identities) {
  std::string text = std::string(kVersion) + " " + word(form.target) + "\n";
  for (const fs::path& file : Checkpoint::paths(part.path)) {
    const FileState state = state_of(file);
    text += digest_of(file, identities) + " " + std::to_string(state.size) + " " + std::to_string(state.inode) + " " +
            std::to_string(state.modified) + "\n";
  }
  for (const std::string& name : form.changed) text += name + "\n";
  return sha256({text});
}

/// What every writing to a file changes. The number of its device is not: it may be another after a restart.
json state_json(const fs::path& file) {
  const FileState state = state_of(file);
  return {state.inode, state.size, state.modified, state.changed};
}

/// Why a file of the cache is not what `key` stands for, or not as it was written; empty where it is. Its bytes are not
/// read but for the samples: who writes to it changes its time, which cannot be set back.
std::string fault_of(const fs::path& file, const std::string& key, IdentityCache& identities) {
  try {
    std::ifstream in(statement_of(file), std::ios::binary);
    const json said = json::parse(in, nullptr, /*allow_exceptions=*/false);
    if (!said.is_object() || !said.contains("key") || !said.contains("content")) return "was not finished";
    if (said["key"] != key) return "was made from other files, or for other settings";
    const auto texts = metadata_of(MappedFile::open(file));
    const auto written = texts.find(kKey);
    if (written == texts.end() || written->second != key) return "is another file than was written";
    const bool same = said.value("state", json()) == state_json(file) && said["content"] == digest_of(file, identities);
    return same ? "" : "is damaged, or was written to";
  } catch (const ModelError&) {
    return "is damaged, or was written to";
  } catch (const json::exception&) {
    return "was not finished";
  }
}

void write_statement(const fs::path& file, const std::string& key, const ModelPart& part, IdentityCache& identities) {
  const json said = {
      {"key", key}, {"content", digest_of(file, identities)}, {"state", state_json(file)}, {"made_from", part.name}};
  AtomicFile out(statement_of(file).string());
  const std::string text = said.dump(1) + "\n";
  out.write(text.data(), text.size());
  out.commit();
}

/// Bytes that the disk still gives, with what an interrupted run has written already.
std::optional<uint64_t> room_for(const fs::path& file) {
  std::error_code unknown;
  const fs::space_info space = fs::space(file.parent_path(), unknown);
  if (unknown) return std::nullopt;
  struct stat part {};
  const bool begun = stat((file.string() + ".part").c_str(), &part) == 0;
  return uint64_t(space.available) + (begun ? uint64_t(part.st_blocks) * 512 : 0);
}

/// One network on its way into the cache.
struct Entry {
  Network network;
  const ModelPart& part;
  const Checkpoint& source;
  const CacheForm& form;
  fs::path file;

  std::string subject() const { return field_of(network); }
  void leave(Notes& notes, const std::string& why) const {
    notes.add({subject(), "is loaded from its own files, not from a copy in --cache-dir: " + why, ""});
  }

  /// Throws ModelError where the source is another than `key` was made of.
  void check_source(const std::string& key, IdentityCache& identities) const {
    if (key_of(part, form, identities) != key)
      throw ModelError(part.path.string(), "must stay as it is while it is copied, was written to; start again once it "
                                           "is whole");
  }

  /// False, with a note, where it cannot be written now.
  bool write(const std::string& key, IdentityCache& identities, Notes& notes, const convert::Step& step) const {
    constexpr uint64_t kMargin = 1 << 30;  // a disk is not filled to its last byte for a copy
    const std::optional<uint64_t> room = room_for(file);
    if (room && *room < form.bytes + kMargin) {
      leave(notes, "that takes " + gigabytes(form.bytes) + " and 1.07 GB to spare, its disk has " + gigabytes(*room) +
                       " free; make room, or name a folder on another disk");
      return false;
    }
    notes.add({subject(),
               "is kept as " + std::string(word(form.target)) + " in --cache-dir: " + gigabytes(source.bytes()) +
                   " of its files take " + gigabytes(form.bytes) + " there" +
                   (room ? ", of " + gigabytes(*room) + " free" : "") + "; its weights are the same",
               "without --cache-dir nothing is kept"});
    std::error_code ignored;
    fs::remove(statement_of(file), ignored);
    bool stopped = false;  // by the caller
    const convert::Step watched = [&](int64_t finished, int64_t all) {
      stopped = true;
      if (step) step(finished, all);
      stopped = false;
    };
    try {
      const convert::Options options{.changes = [&](const std::string& name) { return form.changed.contains(name); },
                                     .metadata = {{kKey, key}},
                                     .check = [&] { check_source(key, identities); }};
      convert::convert(source, model_of(network), form.target, file, key, {.step = watched}, options);
      write_statement(file, key, part, identities);
    } catch (const std::runtime_error& error) {
      if (stopped) throw;
      leave(notes, error.what());
      return false;
    }
    return true;
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
  // Two models may have parts of one name.
  const std::string place = sha256({fs::absolute(part.path).lexically_normal().string()}).substr(0, 12);
  return folder / (shown.substr(0, 80) + "-" + place + "-" + word(target) + ".safetensors");
}

std::optional<CachePlan> plan_of_cache(Network network, const ModelPart& part, const Checkpoint& source,
                                       const Place& place, const fs::path& folder) {
  if (folder.empty() || !is_kept_once_more(network)) return std::nullopt;
  const CacheForm form = cache_form(network, source, place, /*merged=*/false);
  if (!form.refusal.empty()) return std::nullopt;
  std::error_code ignored;
  return CachePlan{.network = network,
                   .form = word(form.target),
                   .bytes = form.bytes,
                   .source_bytes = source.bytes(),
                   .is_there = fs::exists(cached_file(folder, part, form.target), ignored)};
}

Checkpoint cached_headers(Network network, const Checkpoint& source, const Place& place) {
  if (!is_kept_once_more(network)) return source;
  const CacheForm form = cache_form(network, source, place, /*merged=*/false);
  if (!form.refusal.empty() || form.target != convert::Target::Bf16) return source;
  StoredTensors tensors = source.tensors();
  for (const std::string& name : form.changed) tensors.at(name).dtype = at::kBFloat16;
  return source.renamed(std::move(tensors));
}

std::optional<Checkpoint> cached(Network network, const ModelPart& part, const Checkpoint& source, const Place& place,
                                 bool merged, const fs::path& folder, IdentityCache& identities, Notes& notes,
                                 const convert::Step& step) {
  const CacheForm form = cache_form(network, source, place, merged);
  const Entry entry{network, part, source, form, cached_file(folder, part, form.target)};
  if (!form.refusal.empty()) {
    entry.leave(notes, form.refusal);
    return std::nullopt;
  }
  const std::string key = key_of(part, form, identities);
  std::error_code ignored;
  std::string fault;
  if (fs::exists(entry.file, ignored)) {
    fault = fault_of(entry.file, key, identities);
    if (fault.empty()) return Checkpoint::open(entry.file);
  }
  try {
    check_cache_folder(folder);
  } catch (const InvalidRequest& refused) {
    entry.leave(notes, "--cache-dir " + refused.errors.at(0).wrong);
    return std::nullopt;
  }
  if (!fault.empty()) {
    notes.add({entry.subject(), "has a copy in --cache-dir that " + fault + ": it is made anew", ""});
    fs::remove(entry.file, ignored);
  }
  if (!entry.write(key, identities, notes, step)) return std::nullopt;
  return Checkpoint::open(entry.file);
}

}  // namespace wan
