// The command line of `wan-serve key`.
#include <algorithm>
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/params.h"
#include "tools/serve/flag_sections.h"

namespace wan {

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
  use_help(app);
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

}  // namespace wan
