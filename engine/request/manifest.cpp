#include "engine/request/manifest.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/files.h"
#include "engine/request/manifest_lines.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "engine/request/values.h"
#include "models/files/error.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kMostBytes = 256 << 20, kMostJobs = 100'000;
constexpr size_t kMostText = 512 << 20;  // of all jobs: `repeat` multiplies what a line holds

std::string read_file(const std::string& path) {
  check_readable("manifest", path);
  std::error_code error;
  if (!fs::is_regular_file(path, error)) throw InvalidRequest("manifest", "must be a file, got " + shown_path(path));
  if (fs::file_size(path) > kMostBytes)
    throw InvalidRequest("manifest", "must be at most 256 MiB, got " + std::to_string(fs::file_size(path)) + " bytes");
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::vector<Lora> with_absolute_paths(std::vector<Lora> loras) {
  for (Lora& lora : loras) lora.path = fs::absolute(lora.path).string();
  return loras;
}

/// Flags are texts, and their paths start where the command was typed.
json typed(const json& flags) {
  json fields = flags;
  for (auto& [name, value] : fields.items()) {
    const Parameter& parameter = *find_parameter(name);
    if (std::holds_alternative<bool Request::*>(parameter.field)) value = read_boolean(parameter, value, true);
    if (std::holds_alternative<int64_t Request::*>(parameter.field)) value = read_integer(parameter, value, true);
    if (std::holds_alternative<double Request::*>(parameter.field)) value = read_number(parameter, value, true);
    if (parameter.repeated) value = with_absolute_paths(read_loras(parameter, value, true));
    if (!parameter.path || ((parameter.named || parameter.part) && is_bare_name("", value))) continue;
    value = fs::absolute(value.get<std::string>()).string();
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
std::string with_seed(const std::string& out, uint64_t seed) {
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
      : folder_(fs::path(path).parent_path()),
        defaults_(typed(options.defaults)),
        draws_(options.draw),
        by_server_(options.by_server) {}

  std::vector<ManifestJob> read(const std::string& text) {
    for (ManifestLine& line : manifest_lines(text, errors_)) {
      if (errors_.full_before(line.number)) break;
      add_line(line);
    }
    check_outputs();
    if (!errors_.empty()) throw InvalidRequest(errors_.list());
    return std::move(jobs_);
  }

 private:
  /// What the function found wrong.
  template <class Function>
  std::vector<FieldError> collect(int64_t line, Function function) {
    try {
      function();
      return {};
    } catch (const InvalidRequest& invalid) {
      for (const FieldError& error : invalid.errors) errors_.add(line, error);
      return invalid.errors;
    }
  }

  /// The seeds of one line, in order: `seeds`, or `repeat` many, or the one it has.
  std::vector<json> take_seeds(json& fields) {
    const bool listed = fields.contains("seeds"), repeated = fields.contains("repeat");
    const json asked = fields.value("seed", json()), seed = is_drawn(asked) ? json() : asked,
               seeds = fields.value("seeds", json()), repeat = fields.value("repeat", json());
    for (const char* name : {"seed", "seeds", "repeat"}) fields.erase(name);
    if (listed && (repeated || !seed.is_null()))
      throw InvalidRequest("seeds", std::string("cannot be together with ") + (repeated ? "repeat" : "seed"));
    if (listed && (!seeds.is_array() || seeds.empty()))
      throw InvalidRequest("seeds", "must be a list of whole numbers, got " + shown(seeds));
    if (listed) refuse_equal(seeds);
    if (listed) return with_drawn(seeds.get<std::vector<json>>(), drawn_for(fields).dump());
    if (repeated && (!repeat.is_number_integer() || repeat < 1 || repeat > kMostJobs))
      throw InvalidRequest("repeat", "must be a whole number from 1 to 100000, got " + shown(repeat));
    const bool counts =
        repeated && seed.is_number_integer() && seed >= 0 && seed.get<uint64_t>() <= UINT64_MAX - kMostJobs;
    if (repeated && !seed.is_null() && !counts)
      throw InvalidRequest("seed", "must be a whole number from which repeat counts up, got " + shown(seed));

    std::vector<json> result;
    const std::string text = seed.is_null() ? drawn_for(fields).dump() : "";
    for (int64_t i = 0; i < (repeated ? repeat.get<int64_t>() : 1); ++i)
      result.push_back(seed.is_null() ? json(draws_.next(text))
                       : counts       ? json(seed.get<uint64_t>() + uint64_t(i))
                                      : seed);
    return result;
  }

  /// Two jobs of one seed would write one file.
  static void refuse_equal(std::vector<json> seeds) {
    std::erase_if(seeds, is_drawn);
    std::sort(seeds.begin(), seeds.end());
    const auto twice = std::adjacent_find(seeds.begin(), seeds.end());
    if (twice != seeds.end())
      throw InvalidRequest("seeds",
                           "must be different from each other, got " + shown(*twice) + " twice; once is enough");
  }

  /// What the command forbids no line allows.
  void check_private_urls(const json& fields) const {
    const char* name = "private_urls";
    if (defaults_.value(name, true) || !fields.value(name, json()).is_boolean() || !fields[name].get<bool>()) return;
    throw InvalidRequest(name, "must not be true where the command says --no-private-urls; leave it out");
  }

  static bool is_drawn(const json& seed) { return seed.is_null() || seed == -1 || seed == "-1"; }

  std::vector<json> with_drawn(std::vector<json> seeds, const std::string& text) {
    for (json& seed : seeds)
      if (seed == -1) seed = draws_.next(text);
    return seeds;
  }

  /// What a drawn seed depends on: not what makes no other request of a line.
  static json drawn_for(json fields) {
    for (const char* name : {"out", "quality_check", "expander_url", "expander_timeout"}) fields.erase(name);
    return fields;
  }

  /// The command's parts of a model are for lines that have no model of their own and whose task takes them, its
  /// interpolator for those that name whose weights it has, and its language server for those whose task asks one.
  json defaults_for(const json& line) const {
    json fields = defaults_;
    const auto named = line.find("task");
    const auto task = named != line.end() && named->is_string() ? task_named(named->get<std::string>()) : std::nullopt;
    const bool known = task.has_value();  // apart from its value: GCC 12 warns of one that is not there
    const Task which = task.value_or(Task::T2V);
    for (const Parameter& parameter : parameters())
      if (parameter.part && (line.contains("model") || (known && !parameter.accepts(which))))
        fields.erase(parameter.name);
    if (known && !find_parameter("expander_url")->accepts(which))
      for (const char* name : {"expander_url", "expander_model", "expander_timeout"}) fields.erase(name);
    if (!line.contains("interpolator_model")) fields.erase("interpolator");
    return fields;
  }

  void add_line(const ManifestLine& line) {
    json fields = defaults_for(line.fields);
    fields.update(line.fields);
    collect(line.number, [&] { check_private_urls(line.fields); });
    const bool several = fields.contains("seeds") || fields.contains("repeat");
    std::vector<json> seeds;
    const bool countable = collect(line.number, [&] {
                             seeds = take_seeds(fields);
                             take_room(fields, seeds.size());
                           }).empty();
    if (!countable) seeds = {0};  // what else is wrong with the line is said at once
    for (const json& seed : seeds) {
      fields["seed"] = seed;
      Request request = files_of(fields);
      const auto wrong =
          collect(line.number, [&] { request = parse(fields, {.folder = folder_, .by_server = by_server_}); });
      if (several && fields.contains("out") && wrong.empty()) request.out = with_seed(request.out, request.seed);
      if (countable && !(several && !wrong.empty())) name_files(line.number, request);
      auto in_seed = [](const FieldError& error) { return error.field == "seed"; };
      if (!std::all_of(wrong.begin(), wrong.end(), in_seed)) break;  // its other seeds would say the same
      if (!wrong.empty() || !countable) continue;
      jobs_.push_back({line.number, name_of(request.out), std::move(request)});
      if (!by_server_) continue;
      for (const auto& [name, value] : fields.items()) jobs_.back().given.push_back(name);
    }
  }

  /// An output outside the manifest's folder is called by its last component.
  std::string name_of(const std::string& out) const {
    const fs::path inside = fs::path(out).lexically_relative(folder_.empty() ? "." : folder_);
    return folder_.empty() || inside.empty() || *inside.begin() == ".." ? shown_name(out) : inside.string();
  }

  void take_room(const json& fields, size_t jobs) {
    if (jobs_.size() + jobs > kMostJobs) throw InvalidRequest("manifest", "must hold at most 100000 jobs; split it");
    size_t letters = 0;
    for (const json& value : fields)
      if (value.is_string()) letters += value.get_ref<const std::string&>().size();
    text_ += letters * jobs;  // at most 256 MiB times 100000
    if (text_ > kMostText)
      throw InvalidRequest("manifest", "must hold at most 512 MiB of text in all its jobs; name large inputs as files");
  }

  /// What a line reads and writes, though it may be wrong elsewhere.
  Request files_of(const json& fields) const {
    Request request;
    for (const Parameter& parameter : parameters()) {
      const auto found = fields.find(parameter.name);
      if (!parameter.path || found == fields.end() || !found->is_string()) continue;
      const std::string path = plain_url(found->get_ref<const std::string&>());
      if (!path.empty() && !is_url(path))
        request.*std::get<std::string Request::*>(parameter.field) = from_folder(folder_, path);
    }
    return request;
  }

  void name_files(int64_t line, const Request& request) {
    if (!request.out.empty()) outputs_.emplace_back(line, request.out);
    for (const std::string& input :
         {request.image_url, request.last_image_url, request.video_url, request.audio_url, request.pose_video_url})
      if (!input.empty() && !is_url(input)) inputs_.emplace(one_name(input), line);
  }

  void check_outputs() {
    std::map<std::string, int64_t> taken;
    for (const auto& [line, out] : outputs_) {
      if (errors_.full_before(line)) return;
      const std::string name = one_name(out);
      auto refuse = [&](const std::string& wrong) {
        errors_.add(line, FieldError{"out", wrong, "duplicate", "", shown_path(out)});
      };
      const auto [first, added] = taken.emplace(name, line);
      if (!added)
        refuse("must be a file of its own, got " + shown_path(out) + ", which line " + std::to_string(first->second) +
               " writes too");
      else if (const auto input = inputs_.find(name); input != inputs_.end())
        refuse("must not be an input, got " + shown_path(out) + ", which line " + std::to_string(input->second) +
               " reads");
    }
  }

  std::string folder_;
  json defaults_;
  Draws draws_;
  bool by_server_;
  std::vector<ManifestJob> jobs_;
  size_t text_ = 0;  // bytes of the jobs' texts
  std::vector<std::pair<int64_t, std::string>> outputs_;
  std::map<std::string, int64_t> inputs_;  // each with the first line that reads it
  LineErrors errors_;
};

}  // namespace

std::vector<ManifestJob> read_manifest(const std::string& path, const ManifestOptions& options) {
  return Reader(path, options).read(read_file(path));
}

}  // namespace wan
