#include "engine/request/manifest.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "engine/request/error.h"
#include "engine/request/files.h"
#include "engine/request/manifest_lines.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "engine/request/values.h"
#include "engine/request/wording.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kMostBytes = 64 << 20, kMostJobs = 100'000;

std::string read_file(const std::string& path) {
  check_readable("manifest", path);
  std::error_code error;
  if (!fs::is_regular_file(path, error)) throw InvalidRequest("manifest", "must be a file, got " + shown_path(path));
  if (fs::file_size(path) > kMostBytes)
    throw InvalidRequest("manifest", "must be at most 64 MiB, got " + std::to_string(fs::file_size(path)) + " bytes");
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

/// Flags are texts, and their paths start where the command was typed.
json typed(const json& flags) {
  json fields = flags;
  for (auto& [name, value] : fields.items()) {
    const Parameter& parameter = *find_parameter(name);
    if (std::holds_alternative<bool Request::*>(parameter.field)) value = read_boolean(parameter, value, true);
    if (parameter.path) value = fs::absolute(value.get<std::string>()).string();
  }
  return fields;
}

/// One name for a file, however it is spelled; the last component may be absent or a link, which a rename replaces.
std::string one_name(const std::string& path) {
  std::error_code error;
  fs::path absolute = fs::absolute(path).lexically_normal();
  fs::path folder = fs::weakly_canonical(absolute.parent_path(), error);
  return error ? absolute.string() : (folder / absolute.filename()).string();
}

/// NAME.mp4 is NAME-SEED.mp4.
std::string with_seed(const std::string& out, int64_t seed) {
  const fs::path path = out;
  return path.parent_path() / (path.stem().string() + "-" + std::to_string(seed) + path.extension().string());
}

class Draws {
 public:
  explicit Draws(uint64_t number) : number_(number) {}

  /// The next seed for a line that says `text`: from 0 to 2^31 - 1, as every endpoint takes it, never the same twice.
  int64_t next(const std::string& text) {
    uint64_t hash = 0xCBF29CE484222325;  // FNV-1a
    for (unsigned char byte : text) hash = (hash ^ byte) * 0x100000001B3;
    int64_t seed;
    do seed = int64_t(mixed(mixed(number_) ^ mixed(hash + mixed(counts_[hash]++))) & 0x7FFFFFFF);
    while (!drawn_.insert(seed).second);
    return seed;
  }

 private:
  static uint64_t mixed(uint64_t z) {  // splitmix64's output function
    z += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }

  uint64_t number_;
  std::map<uint64_t, uint64_t> counts_;
  std::set<int64_t> drawn_;
};

class Reader {
 public:
  Reader(const std::string& path, const ManifestOptions& options)
      : folder_(fs::path(path).parent_path()), defaults_(typed(options.defaults)), draws_(options.draw) {}

  std::vector<ManifestJob> read(const std::string& text) {
    for (ManifestLine& line : manifest_lines(text, errors_)) {
      if (errors_.size() >= kMostErrors) break;
      collect(line.number, [&] { add_line(line); });
    }
    check_outputs();
    if (!errors_.empty()) throw InvalidRequest(list_of(errors_));
    return std::move(jobs_);
  }

 private:
  /// In the order of the lines; the fields read "line 3, num_frames".
  static std::vector<FieldError> list_of(const LineErrors& errors) {
    std::vector<FieldError> list;
    for (const auto& [line, error] : errors) {
      list.push_back(error);
      list.back().field = "line " + std::to_string(line) + (error.field.empty() ? "" : ", " + error.field);
    }
    return list;
  }

  template <class Function>
  void collect(int64_t line, Function function) {
    try {
      function();
    } catch (const InvalidRequest& invalid) {
      for (const FieldError& error : invalid.errors) errors_.emplace(line, error);
    }
  }

  /// The seeds of one line, in order: `seeds`, or `repeat` many, or the one it has.
  std::vector<json> take_seeds(json& fields) {
    const bool listed = fields.contains("seeds"), repeated = fields.contains("repeat");
    const json seed = fields.value("seed", json()), seeds = fields.value("seeds", json()),
               repeat = fields.value("repeat", json());
    for (const char* name : {"seed", "seeds", "repeat"}) fields.erase(name);
    if (listed && (repeated || !seed.is_null()))
      throw InvalidRequest("seeds", std::string("cannot be together with ") + (repeated ? "repeat" : "seed"));
    if (listed && (!seeds.is_array() || seeds.empty()))
      throw InvalidRequest("seeds", "must be a list of whole numbers, got " + shown(seeds));
    if (listed) return seeds.get<std::vector<json>>();
    if (repeated && (!repeat.is_number_integer() || repeat < 1 || repeat > kMostJobs))
      throw InvalidRequest("repeat", "must be a whole number from 1 to 100000, got " + shown(repeat));
    const bool counts = repeated && seed.is_number_integer() && seed >= 0 && seed <= INT64_MAX - int64_t(kMostJobs);
    if (repeated && !seed.is_null() && !counts)
      throw InvalidRequest("seed", "must be a whole number from which repeat counts up, got " + shown(seed));

    std::vector<json> result;
    const std::string text = seed.is_null() ? without_out(fields).dump() : "";
    for (int64_t i = 0; i < (repeated ? repeat.get<int64_t>() : 1); ++i)
      result.push_back(seed.is_null() ? json(draws_.next(text)) : counts ? json(seed.get<int64_t>() + i) : seed);
    return result;
  }

  static json without_out(json fields) {
    fields.erase("out");
    return fields;
  }

  void add_line(const ManifestLine& line) {
    json fields = defaults_;
    fields.update(line.fields);
    const bool several = fields.contains("seeds") || fields.contains("repeat");
    const std::vector<json> seeds = take_seeds(fields);
    if (jobs_.size() + seeds.size() > kMostJobs)
      throw InvalidRequest("manifest", "must hold at most 100000 jobs; split it");
    for (const json& seed : seeds) {
      fields["seed"] = seed;
      Request request = parse(fields, {.folder = folder_});
      if (several && fields.contains("out")) request.out = with_seed(request.out, request.seed);
      jobs_.push_back({line.number, std::move(request)});
    }
  }

  void check_outputs() {
    std::map<std::string, int64_t> outputs, inputs;
    for (const ManifestJob& job : jobs_) {
      const Request& request = job.request;
      for (const std::string& input :
           {request.image_url, request.last_image_url, request.video_url, request.audio_url, request.pose_video_url})
        if (!input.empty() && !is_url(input)) inputs.emplace(one_name(input), job.line);
    }
    for (const ManifestJob& job : jobs_) {
      if (errors_.size() >= kMostErrors) return;
      const std::string name = one_name(job.request.out);
      auto refuse = [&](const std::string& wrong) {
        errors_.emplace(job.line, FieldError{"out", wrong, "duplicate", "", job.request.out});
      };
      const auto [first, added] = outputs.emplace(name, job.line);
      if (!added)
        refuse("must be a file of its own, got " + shown_path(job.request.out) + ", which line " +
               std::to_string(first->second) + " writes too");
      else if (const auto input = inputs.find(name); input != inputs.end())
        refuse("must not be an input, got " + shown_path(job.request.out) + ", which line " +
               std::to_string(input->second) + " reads");
    }
  }

  std::string folder_;
  json defaults_;
  Draws draws_;
  std::vector<ManifestJob> jobs_;
  LineErrors errors_;
};

}  // namespace

std::vector<ManifestJob> read_manifest(const std::string& path, const ManifestOptions& options) {
  return Reader(path, options).read(read_file(path));
}

}  // namespace wan
