#include "tools/serve/serve_flags.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/base/units.h"
#include "engine/request/files.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "engine/request/version.h"
#include "tools/cli/help.h"
#include "tools/serve/flag_words.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using serve::Settings;

constexpr const char *kNetwork = "Network", *kAccess = "Access", *kWork = "Work", *kStorage = "Storage",
                     *kGeneral = "General";

void add_flags(CLI::App& app) {
  add_word_flag(app, "--data", "DIR",
                "Folder of the queue, the uploads and the videos; made where it is absent, readable by its user alone. "
                "Required.",
                kStorage);
  add_word_flag(app, "--model", "TASK=DIR",
                "Folder, file or set of models.json for t2v, i2v, v2v or s2v; may be repeated, and must come once at "
                "least. v2v takes t2v's where it has none.",
                kWork);
  add_word_flag(app, "--gpus", "N,N|all", "A worker on each of these GPUs. Default: the first one, or the CPU.", kWork);
  add_word_flag(app, "--device", "cpu|cuda[:N]", "One worker, there.", kWork);
  add_word_flag(app, "--precision", "exact|balanced|fast", "Of every job. Default exact.", kWork);
  add_word_flag(app, "--default-acceleration", "none|regular",
                "Of requests that do not say. Default none; what a request says is obeyed.", kWork);
  add_word_flag(app, "--window", "TIME",
                "How long a job may wait for others that need the same weights. Default 5m; 0: not at all.", kWork);
  add_word_flag(app, "--idle-unload", "TIME", "Free the card after so long without a job. Default 0: never.", kWork);
  add_word_flag(app, "--size-override", "WxH",
                "Render every request at this size, and say so in its log: to try the server without a card.", kWork);
  add_word_flag(app, "--render", "NAME=VALUE",
                "A field of every job that the hosted endpoints do not have or a request leaves out, by its name in "
                "manifests; may be repeated.",
                kWork);
  add_word_flag(app, "--listen", "HOST:PORT", "Default 127.0.0.1:8000. Another address than loopback needs --keys.",
                kNetwork);
  add_word_flag(app, "--public-url", "URL",
                "How clients reach the server, where that is another address: behind a proxy.", kNetwork);
  add_word_flag(app, "--tls-cert", "FILE", "Certificate with its chain, PEM; with --tls-key.", kNetwork);
  add_word_flag(app, "--tls-key", "FILE", "Its private key, PEM.", kNetwork);
  add_word_flag(app, "--tls-self-signed", "", "TLS with a certificate of its own, made once in the data folder.",
                kNetwork);
  add_word_flag(app, "--cors", "ORIGIN", "Pages of this origin may send requests: https://app.example.", kNetwork);
  add_word_flag(app, "--keys", "FILE", "Ask every request for one of these keys; wan-serve key add NAME makes one.",
                kAccess);
  add_word_flag(app, "--no-auth", "", "Serve everybody who reaches the server, beyond this machine, too.", kAccess);
  add_word_flag(app, "--rate", "N", "Requests a second of each key, ten times as many at once. Default: no limit.",
                kAccess);
  add_word_flag(
      app, "--private-urls,!--no-private-urls", "",
      "Inputs and webhooks may lead to this machine and its network. Default: only where the server listens at "
      "loopback.",
      kAccess);
  add_word_flag(app, "--keep", "TIME", "Remove ended jobs and uploads after so long. Default 7d; 0: never.", kStorage);
  add_word_flag(app, "--keep-bytes", "SIZE", "Remove the oldest where they take more. Default: no limit.", kStorage);
  add_word_flag(app, "--least-free", "SIZE", "Begin no job while the disk has less left. Default 2GB.", kStorage);
  add_word_flag(app, "--max-file", "SIZE", "The largest upload or input. Default 1GiB.", kStorage);
  add_word_flag(app, "--log-format", "text|json", "Lines for people, or one JSON object a line. Default text.",
                kGeneral);
  add_word_flag(app, "--version", "", "Print the version.", kGeneral);
}

void use_formatter(CLI::App& app) {
  app.set_help_flag("-h,--help", "Print this text.");
  app.formatter(std::make_shared<HelpFormatter>());
}

/// "200G" and "512M" are as "200GB" and "512MB".
std::optional<uint64_t> read_bytes(const std::string& text) {
  const auto size = read_size(text);
  const bool has_unit = !text.empty() && text.back() > '9';
  return size || !has_unit ? size : read_size(text + "B");
}

bool is_loopback(const std::string& host) {
  in_addr v4;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  return host == "::1" || host == "localhost";
}

/// Whether the text is "scheme://host[:port]" of http or https.
bool is_origin(const std::string& text) {
  const size_t begin = text.starts_with("http://") ? 7 : text.starts_with("https://") ? 8 : 0;
  return begin > 0 && text.size() > begin && text.find_first_of("/?#@*\\ \t\"'", begin) == text.npos;
}

/// From texts to Settings. What is wrong is collected in the words' errors.
class Reader {
 public:
  explicit Reader(FlagWords& words) : words_(words) {}

  ServeCommand read() {
    command_.kind = ServeCommand::Kind::Serve;
    for (const std::string& word : words_.others)
      words_.fail("argument", "is not wanted here: " + shown_path(word) + "; a value follows its flag", "unknown");
    read_network();
    read_access();
    read_models();
    read_work();
    read_storage();
    read_render();
    if (!words_.errors.empty()) throw InvalidRequest(words_.errors);
    return command_;
  }

 private:
  Settings& settings() { return command_.settings; }

  std::string choice(const std::string& flag, const std::vector<std::string>& options) {
    const std::string word = words_.text(flag, options.front());
    if (std::find(options.begin(), options.end(), word) == options.end())
      words_.fail(flag, "must be " + either(options) + ", got " + shown(word), "literal_error");
    return word;
  }

  void time(const std::string& flag, std::chrono::seconds least, std::chrono::seconds& into) {
    if (!words_.has(flag)) return;
    const std::string text = words_.text(flag);
    const std::optional<std::chrono::seconds> read = read_duration(text);
    if (!read || (read->count() > 0 && *read < least))
      return words_.fail(flag, "must be 0 or a time" +
                                   (least.count() > 1 ? " from " + duration(double(least.count())) : std::string()) +
                                   " like 90s, 10m, 2h or 7d, got " + shown(text));
    into = *read;
  }

  void size(const std::string& flag, uint64_t least, uint64_t& into) {
    if (!words_.has(flag)) return;
    const std::string text = words_.text(flag);
    const std::optional<uint64_t> read = read_bytes(text);
    if (!read || *read < least)
      return words_.fail(flag, "must be a size" + (least > 0 ? " from " + gigabytes(least) : std::string()) +
                                   " like 500M, 200G or 2TiB, got " + shown(text));
    into = *read;
  }

  template <class Function>
  void collect(const std::string& flag, Function function) {
    try {
      function();
    } catch (const InvalidRequest& invalid) {
      for (const FieldError& error : invalid.errors) words_.fail(flag, error.wrong, error.type.c_str());
    }
  }

  void read_network() {
    const std::string text = words_.text("--listen", "127.0.0.1:8000");
    const size_t colon = text.rfind(':');
    std::string host = text.substr(0, colon), port = colon == text.npos ? "8000" : text.substr(colon + 1);
    if (text.starts_with('[') && text.ends_with(']')) host = text, port = "8000";
    const bool brackets = host.starts_with('[') && host.ends_with(']');
    if (brackets) host = host.substr(1, host.size() - 2);
    const bool digits = !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == port.npos;
    const bool is_host =
        !host.empty() && host.find_first_of("/?#@[] \t") == host.npos && (brackets || host.find(':') == host.npos);
    if (!is_host || !digits || std::stoi(port) > 65535) {
      words_.fail("--listen", "must be HOST:PORT like 127.0.0.1:8000, 0.0.0.0:8000 or [::1]:8000, got " + shown(text));
      host = "127.0.0.1", port = "8000";
    }
    settings().net.address = host;
    settings().net.port = uint16_t(std::stoi(port));

    std::string url = words_.text("--public-url");
    while (url.ends_with('/')) url.pop_back();
    const size_t path = url.find('/', url.find("://") == url.npos ? 0 : url.find("://") + 3);
    const bool good = is_origin(url.substr(0, path)) && url.find_first_of("?# ") == url.npos;
    if (words_.has("--public-url") && !good)
      words_.fail("--public-url",
                  "must be a URL like https://wan.example, got " + shown_url(words_.text("--public-url")));
    settings().net.public_url = url;

    settings().cors = words_.text("--cors");
    if (words_.has("--cors") && !is_origin(settings().cors))
      words_.fail("--cors", "must be one origin like https://app.example or http://localhost:3000, got " +
                                shown(settings().cors) + "; no path, and no *: any page could use the server then");
    read_certificate();
  }

  void read_certificate() {
    command_.self_signed = words_.is_set("--tls-self-signed");
    const std::string certificate = words_.text("--tls-cert"), key = words_.text("--tls-key");
    if (certificate.empty() != key.empty())
      words_.fail(certificate.empty() ? "--tls-cert" : "--tls-key",
                  "is needed, too: the certificate and its key go together; a file that holds both is named twice",
                  "missing");
    if (command_.self_signed && !(certificate.empty() && key.empty()))
      words_.fail("--tls-self-signed", "makes a certificate; with --tls-cert and --tls-key it is not wanted");
    if (!certificate.empty()) collect("--tls-cert", [&] { check_readable("tls_cert", certificate); });
    if (!key.empty()) collect("--tls-key", [&] { check_readable("tls_key", key); });
    settings().net.certificate = certificate, settings().net.key = key;
  }

  void read_access() {
    settings().keys = words_.text("--keys");
    settings().no_auth = words_.is_set("--no-auth");
    const bool here = is_loopback(settings().net.address);
    if (words_.has("--keys")) collect("--keys", [&] { serve::read_keys(settings().keys); });
    if (words_.has("--keys") && settings().no_auth)
      words_.fail("--no-auth", "lets everybody in, and --keys asks for keys; give one of them");
    if (!here && !words_.has("--keys") && !settings().no_auth)
      words_.fail("--listen", "at " + shown(settings().net.address) +
                                  " others can reach the server: give --keys FILE (wan-serve key add NAME --keys FILE "
                                  "makes one), or --no-auth where everybody may use it");
    settings().private_urls = words_.is_set("--private-urls", here);
    if (const std::string text = words_.text("--rate"); !text.empty()) {
      char* end = nullptr;
      const double rate = std::strtod(text.c_str(), &end);
      if (*end != '\0' || !(rate > 0) || rate > 1e6)
        words_.fail("--rate", "must be a number of requests a second above 0, at most 1000000, got " + shown(text));
      settings().requests_per_second = rate;
    }
  }

  void read_models() {
    const auto found = words_.flags.find("--model");
    if (found == words_.flags.end())
      return words_.fail("--model", "is required: --model t2v=DIR, and the same for i2v, v2v and s2v", "missing");
    for (const std::string& text : found->second) {
      const size_t sign = text.find('=');
      const std::string task = text.substr(0, sign), model = sign == text.npos ? "" : text.substr(sign + 1);
      if (!task_named(task) || model.empty()) {
        words_.fail("--model", "must be TASK=DIR with t2v, i2v, v2v or s2v as TASK, got " + shown(text));
      } else if (settings().models.contains(task)) {
        words_.fail("--model", "was given twice for " + task + "; give one", "duplicate");
      } else if (std::error_code ignored; is_bare_name("", model)) {
        settings().models[task] = model;  // of a set in models.json
      } else if (!fs::exists(model, ignored)) {
        words_.fail("--model", "of " + task + " must be a folder, a file or the name of a set, got " +
                                   shown_missing(model) + ", which is not there");
      } else {
        settings().models[task] = fs::absolute(model, ignored).lexically_normal().string();
      }
    }
  }

  void read_work() {
    settings().precision = choice("--precision", {"exact", "balanced", "fast"});
    settings().default_acceleration = choice("--default-acceleration", {"none", "regular"});
    settings().log_json = choice("--log-format", {"text", "json"}) == "json";
    time("--window", std::chrono::seconds(1), settings().window);
    time("--idle-unload", std::chrono::seconds(1), settings().idle_unload);
    read_devices();
    settings().size_override = words_.text("--size-override");
    if (words_.has("--size-override")) check_size_override();
  }

  void check_size_override() {
    const std::string& text = settings().size_override;
    const size_t cross = text.find('x');
    int64_t sides[2] = {0, 0};
    for (int i = 0; i < 2 && cross != text.npos; ++i) {
      const std::string side = i == 0 ? text.substr(0, cross) : text.substr(cross + 1);
      if (!side.empty() && side.size() <= 4 && side.find_first_not_of("0123456789") == side.npos)
        sides[i] = std::stoll(side);
    }
    if (sides[0] < 16 || sides[1] < 16 || sides[0] % 16 != 0 || sides[1] % 16 != 0)
      words_.fail("--size-override",
                  "must be WIDTHxHEIGHT like 64x64, both multiples of 16 (of 64 for s2v), got " + shown(text));
  }

  void read_devices() {
    const std::string gpus = words_.text("--gpus"), device = words_.text("--device");
    if (words_.has("--gpus") && words_.has("--device"))
      return words_.fail("--device", "names one device, and --gpus several; give one of them");
    if (words_.has("--device")) {
      const std::string number = device.starts_with("cuda:") ? device.substr(5) : "0";
      if ((device != "cpu" && device != "cuda" && !device.starts_with("cuda:")) || !is_number(number))
        return words_.fail("--device", "must be cpu, cuda or cuda:N, got " + shown(device));
      settings().devices = {device == "cuda" ? "cuda:0" : device};
    } else if (gpus == "all") {
      settings().devices = cuda_devices();
      if (settings().devices.empty())
        words_.fail("--gpus", "must be cards of this machine, and none is found; --device cpu works without one");
    } else if (words_.has("--gpus")) {
      read_gpus(gpus);
    } else {
      settings().devices = cuda_devices();
      if (settings().devices.empty()) settings().devices = {"cpu"};
      settings().devices.resize(1);
    }
  }

  static bool is_number(const std::string& text) {
    return !text.empty() && text.size() <= 3 && text.find_first_not_of("0123456789") == text.npos;
  }

  void read_gpus(const std::string& text) {
    for (size_t at = 0; at <= text.size();) {
      const size_t end = std::min(text.find(',', at), text.size());
      const std::string number = text.substr(at, end - at);
      const std::string device = is_number(number) ? "cuda:" + std::to_string(std::stoi(number)) : "";
      std::vector<std::string>& devices = settings().devices;
      if (device.empty() || std::find(devices.begin(), devices.end(), device) != devices.end())
        return words_.fail("--gpus", "must be all, or different numbers like 0,1, got " + shown(text));
      devices.push_back(device);
      at = end + 1;
    }
  }

  void read_storage() {
    settings().data = words_.text("--data");
    if (settings().data.empty())
      words_.fail("--data", "is required: a folder for the queue, the uploads and the videos", "missing");
    else
      settings().data = fs::absolute(settings().data).lexically_normal();
    time("--keep", std::chrono::hours(1), settings().keep);
    size("--keep-bytes", 0, settings().keep_bytes);
    size("--least-free", 0, settings().least_free_bytes);
    size("--max-file", 1 << 20, settings().most_file_bytes);
  }

  /// Fields that each request has of its own, or that have a flag here.
  static bool is_taken(const Parameter& parameter) {
    const std::string name = parameter.name;
    return parameter.media || name == "prompt" || name == "out" || name == "seed" || name == "model" ||
           name == "device" || name == "precision" || name == "acceleration" || name == "private_urls" ||
           name == "width" || name == "height";
  }

  void read_render() {
    const auto found = words_.flags.find("--render");
    if (found == words_.flags.end()) return;
    for (const std::string& text : found->second) {
      const size_t sign = text.find('=');
      const std::string name = text.substr(0, sign);
      const Parameter* parameter = find_parameter(name);
      if (sign == text.npos)
        words_.fail("--render", "must be NAME=VALUE, got " + shown(text));
      else if (!parameter)
        words_.fail("--render", "must name a field of a request, got " + shown(name) + near(name), "unknown");
      else if (is_taken(*parameter))
        words_.fail("--render", "cannot set " + name + ": each request has its own, or a flag of wan-serve sets it");
      else if (!settings().render.emplace(name, text.substr(sign + 1)).second)
        words_.fail("--render", "was given twice for " + name + "; give it once", "duplicate");
    }
    check_render();
  }

  static std::string near(const std::string& name) {
    std::vector<std::string> names;
    for (const Parameter& parameter : parameters()) names.push_back(parameter.name);
    return nearest_text(name, names);
  }

  /// Their values, by the table: in a request of each task that is served and takes them.
  void check_render() {
    std::vector<std::string> told;
    std::map<std::string, int> takers;
    for (Task task : kTasks) {
      const std::string name = task_name(task);
      const bool served = settings().models.contains(name) || (task == Task::V2V && settings().models.contains("t2v"));
      if (!served) continue;
      nlohmann::json fields = {{"prompt", ""}};
      for (const auto& [field, value] : settings().render)
        if (const Parameter& parameter = *find_parameter(field); parameter.accepts(task)) {
          fields[field] = parameter.repeated ? nlohmann::json(std::vector<std::string>{value}) : nlohmann::json(value);
          ++takers[field];
        }
      try {
        parse(task, fields, {.source = Source::Flags, .need_model = false, .check_files = false});
      } catch (const InvalidRequest& invalid) {
        for (const FieldError& error : invalid.errors) {
          const std::string wrong = "of " + error.field + " " + error.wrong;
          if (!settings().render.contains(error.field) || std::find(told.begin(), told.end(), wrong) != told.end())
            continue;
          told.push_back(wrong);
          words_.fail("--render", wrong, error.type.c_str());
        }
      }
    }
    for (const auto& [field, value] : settings().render)
      if (!takers.contains(field) && !settings().models.empty())
        words_.fail("--render", "of " + field + " has no effect: no task that is served takes it");
  }

  FlagWords& words_;
  ServeCommand command_;
};

/// `wan-serve key add|list|remove`.
ServeCommand parse_key_command(const std::vector<std::string>& words) {
  const std::vector<std::string> kinds = {"add", "list", "remove"};
  const std::string kind = words.empty() ? "" : words[0];
  const bool wants_help = kind == "-h" || kind == "--help";
  const bool known = std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
  if (!known && !wants_help)
    throw InvalidRequest("key", "must be followed by " + either(kinds) + (kind.empty() ? "" : ", got " + shown(kind)));
  CLI::App app(
      "Keys of a server: who may call, and how much. A running server reads the file again at SIGHUP.",
      "wan-serve key" + (known ? " " + kind : std::string(" add|list|remove")) + (kind == "list" ? "" : " NAME"));
  use_formatter(app);
  add_word_flag(app, "--keys", "FILE", "The file of keys; add makes it where it is absent. Required.", kAccess);
  if (kind == "add" || wants_help) {
    add_word_flag(app, "--admin", "", "The key sees the jobs of all keys.", kAccess);
    add_word_flag(app, "--queued", "N", "So many jobs of it wait or run at once. Default: no limit.", kAccess);
    add_word_flag(app, "--bytes", "SIZE", "So much of its uploads lies on the server at once. Default: no limit.",
                  kAccess);
    add_word_flag(app, "--video-seconds", "N", "It asks for so many seconds of video in 24 hours. Default: no limit.",
                  kAccess);
  }
  ServeCommand command;
  FlagWords read = read_flag_words({words.begin() + (words.empty() ? 0 : 1), words.end()}, app, "wan-serve key");
  if (read.help || wants_help) {
    command.answer = app.help();
    return command;
  }
  command.kind = kind == "add"    ? ServeCommand::Kind::AddKey
                 : kind == "list" ? ServeCommand::Kind::ListKeys
                                  : ServeCommand::Kind::RemoveKey;
  command.keys = read.text("--keys");
  if (command.keys.empty()) read.fail("--keys", "is required: the file of keys", "missing");
  const size_t wanted = kind == "list" ? 0 : 1;
  if (read.others.size() < wanted)
    read.fail("NAME", "is required: wan-serve key " + kind + " NAME --keys FILE", "missing");
  for (size_t i = wanted; i < read.others.size(); ++i)
    read.fail("argument", "is not wanted here: " + shown_path(read.others[i]), "unknown");
  if (wanted == 1 && !read.others.empty()) command.name = read.others[0];
  command.admin = read.is_set("--admin");
  const auto number = [&](const char* flag, bool whole) {
    const std::string text = read.text(flag, "0");
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    const bool good =
        !text.empty() && *end == '\0' && value >= 0 && value <= 1e12 && (!whole || value == int64_t(value));
    if (!good)
      read.fail(flag, std::string("must be a ") + (whole ? "whole " : "") + "number from 0, got " + shown(text));
    return good ? value : 0;
  };
  command.quota.queued_jobs = int64_t(number("--queued", true));
  command.quota.video_seconds = number("--video-seconds", false);
  if (read.has("--bytes")) {
    const std::optional<uint64_t> bytes = read_bytes(read.text("--bytes"));
    if (!bytes) read.fail("--bytes", "must be a size like 500M or 20G, got " + shown(read.text("--bytes")));
    command.quota.upload_bytes = bytes.value_or(0);
  }
  if (!read.errors.empty()) throw InvalidRequest(read.errors);
  return command;
}

}  // namespace

std::vector<std::string> cuda_devices() {
  size_t count = 0;
  std::error_code failed;
  for (fs::directory_iterator at("/proc/driver/nvidia/gpus", failed), end; !failed && at != end; at.increment(failed))
    ++count;
  if (count == 0 && fs::exists("/dev/dxg", failed)) count = 1;  // WSL2
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) {
    const std::string text = visible;
    const size_t named = text.empty() || text == "-1" ? 0 : size_t(std::count(text.begin(), text.end(), ',')) + 1;
    count = std::min(count, named);
  }
  std::vector<std::string> devices;
  for (size_t i = 0; i < count; ++i) devices.push_back("cuda:" + std::to_string(i));
  return devices;
}

std::string serve_flag(const std::string& field) {
  std::string flag = "--" + field;
  std::replace(flag.begin(), flag.end(), '_', '-');
  CLI::App app;
  add_flags(app);
  return field.empty() || field[0] == '-' || !app.get_option_no_throw(flag) ? field : flag;
}

ServeCommand parse_serve_command(int argc, const char* const* argv) {
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  if (!words.empty() && words[0] == "key") return parse_key_command({words.begin() + 1, words.end()});
  CLI::App app(
      "Serve the hosted endpoints of Wan 2.2 on this machine: fal's and WaveSpeed's calls, a queue that loses nothing, "
      "and "
      "a page at /. wan-serve key add|list|remove keeps the keys.",
      "wan-serve");
  use_formatter(app);
  add_flags(app);
  FlagWords read = read_flag_words(words, app, "wan-serve", {"--model", "--render"});
  ServeCommand command;
  if (read.help) {
    command.answer = app.help();
    return command;
  }
  if (read.has("--version")) {
    command.answer = std::string("wan-serve ") + version() + "\n";
    return command;
  }
  return Reader(read).read();
}

}  // namespace wan
