// From the texts of a command line to a server's settings.
#include <arpa/inet.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/base/units.h"
#include "engine/request/expander_url.h"
#include "engine/request/files.h"
#include "engine/request/params.h"
#include "engine/request/values.h"
#include "tools/serve/flag_sections.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using serve::Settings;

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
    read_interpolators();
    read_expander();
    read_safety();
    read_generations();
    read_work();
    read_storage();
    read_render(words_, settings());
    check_rendered_checks();
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
                                   " with its unit, like 500M, 200G or 2TiB, got " + shown(text) +
                                   (flag == "--keep-bytes" ? "; leave it out for no limit" : ""));
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
    const bool is_host = host.find_first_not_of("0123456789") != host.npos &&  // a port alone
                         host.find_first_of("/?#@[] \t") == host.npos && (brackets || host.find(':') == host.npos);
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

  void read_interpolators() {
    const auto found = words_.flags.find("--interpolator");
    if (found == words_.flags.end()) return;
    const std::vector<std::string>& known = find_parameter("interpolator_model")->accepts(Task::T2V)->words;
    for (const std::string& text : found->second) {
      const size_t sign = text.find('=');
      const std::string model = text.substr(0, sign), file = sign == text.npos ? "" : text.substr(sign + 1);
      std::error_code ignored;
      if (model == "none" || std::find(known.begin(), known.end(), model) == known.end() || file.empty())
        words_.fail("--interpolator", "must be film=FILE or rife=FILE, got " + shown(text));
      else if (settings().interpolators.contains(model))
        words_.fail("--interpolator", "was given twice for " + model + "; give one", "duplicate");
      else if (!fs::exists(file, ignored))
        words_.fail("--interpolator", "of " + model + " must be a file or a folder of weights, got " +
                                          shown_missing(file) + ", which is not there");
      else
        settings().interpolators[model] = fs::absolute(file, ignored).lexically_normal().string();
    }
  }

  void read_expander() {
    settings().expander_url = words_.text("--expander-url");
    settings().expander_model = words_.text("--expander-model");
    if (words_.has("--expander-url")) collect("--expander-url", [&] { chat_address(settings().expander_url); });
    if (words_.has("--expander-model") && !words_.has("--expander-url"))
      words_.fail("--expander-model", "needs --expander-url, the server that has the model");
  }

  void read_safety() {
    std::error_code ignored;
    const auto path = [&](const char* flag, std::string& into, bool folder) {
      if (!words_.has(flag)) return;
      const std::string text = words_.text(flag);
      if (folder ? !fs::is_directory(text, ignored) : !fs::is_regular_file(text, ignored))
        return words_.fail(flag, std::string("must be a ") + (folder ? "folder" : "file") + ", got " +
                                     shown_missing(text) + ", which is none");
      into = fs::absolute(text, ignored).lexically_normal().string();
    };
    path("--safety-checker", settings().safety_checker, true);
    check_safety_folder();
    path("--blocked-words", settings().blocked_words, false);
    settings().safety_action = choice("--safety-action", {"refuse", "blur", "flag"});
    if (words_.has("--safety-action") && !words_.has("--safety-checker") && !words_.has("--blocked-words"))
      words_.fail("--safety-action", "needs --safety-checker DIR, or --blocked-words FILE: nothing is flagged without");
    if (!words_.has("--safety-threshold")) return;
    if (!words_.has("--safety-checker"))
      return words_.fail("--safety-threshold", "needs --safety-checker DIR, whose scores it is compared with");
    const Parameter& threshold = *find_parameter("safety_threshold");
    collect("--safety-threshold", [&] {
      const double value = read_number(threshold, words_.text("--safety-threshold"), true);
      const Range& range = threshold.accepts(Task::T2V)->engine;
      if (!range.contains(value))
        throw InvalidRequest("safety_threshold", "must be " + range.text() + ", got " + number_text(value));
      settings().safety_threshold = value;
    });
  }

  void read_generations() {
    settings().answer_paths = words_.is_set("--answer-paths");
    if (!words_.has("--latents-dir")) return;
    const std::string folder = words_.text("--latents-dir");
    std::error_code ignored;
    if (!fs::is_directory(folder, ignored))
      return words_.fail("--latents-dir", "must be a folder, got " + shown_missing(folder) + ", which is none");
    settings().latents_dir = fs::absolute(folder, ignored).lexically_normal();
  }

  /// The worker opens the network; a folder that holds none is told before anything is served.
  void check_safety_folder() {
    const fs::path folder = settings().safety_checker;
    if (folder.empty()) return;
    std::error_code ignored;
    if (!fs::exists(folder / "config.json", ignored) && !fs::exists(folder / "safety_checker" / "config.json", ignored))
      words_.fail("--safety-checker",
                  "must be a folder that holds config.json, which tells which safety checker it is, got " +
                      shown_missing(words_.text("--safety-checker")) + ", which holds none");
  }

  /// Checks of every request need what they are made by.
  void check_rendered_checks() {
    if (!settings().safety_checker.empty()) return;
    for (const auto& [field, value] : settings().render) {
      const bool input = field == "enable_safety_checker", output = field == "enable_output_safety_checker";
      if ((!input && !output) || value == "false" || (input && !settings().blocked_words.empty())) continue;
      words_.fail("--render", "of " + field + " needs --safety-checker DIR" +
                                  (input ? ", or --blocked-words FILE for prompts alone" : ""));
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
    if (words_.has("--worker-timeout"))
      time("--worker-timeout", std::chrono::minutes(1), settings().worker_timeout.emplace());
    read_devices(words_, settings());
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

  FlagWords& words_;
  ServeCommand command_;
};

}  // namespace

/// "200G" and "512M" are as "200GB" and "512MB".
std::optional<uint64_t> read_bytes(const std::string& text) {
  const auto size = read_size(text);
  const bool has_unit = !text.empty() && text.back() > '9';
  return size || !has_unit ? size : read_size(text + "B");
}

ServeCommand read_settings(FlagWords& words) {
  return Reader(words).read();
}

}  // namespace wan
