#include "tools/serve/serve_flags.h"

#include <algorithm>
#include <memory>

#include "engine/request/version.h"
#include "tools/cli/help.h"
#include "tools/serve/flag_sections.h"
#include "tools/serve/flag_words.h"

namespace wan {
namespace {

void add_flags(CLI::App& app) {
  add_word_flag(app, "--data", "DIR",
                "Folder of the queue, the uploads and the videos; made where it is absent, readable by its user alone. "
                "Required.",
                kStorage);
  add_word_flag(app, "--model", "TASK=DIR",
                "Folder, file or set of models.json for t2v, i2v, v2v or s2v; may be repeated, and must come once at "
                "least. v2v takes t2v's where it has none.",
                kWork);
  add_word_flag(app, "--interpolator", "film=FILE|rife=FILE",
                "Weights of the model that draws frames between the generated ones, a file or a folder of them; may be "
                "repeated, once for each. Without film requests that name no interpolator have none.",
                kWork);
  add_word_flag(app, "--expander-url", "URL",
                "The language server, OpenAI-compatible, that writes out the prompts of requests with "
                "enable_prompt_expansion: llama-server, Ollama, vLLM. Its key stands in the environment: "
                "WAN_EXPANDER_KEY. Without it such requests are refused.",
                kWork);
  add_word_flag(app, "--expander-model", "NAME", "The model that it is to use; llama-server needs none.", kWork);
  add_word_flag(app, "--safety-checker", "DIR",
                "Folder of the checker that requests with enable_safety_checker or enable_output_safety_checker are "
                "looked at by. Without it they are refused; --render enable_safety_checker=true looks at all.",
                kWork);
  add_word_flag(app, "--safety-threshold", "X", "The score above which a picture is flagged. Default: the checker's.",
                kWork);
  add_word_flag(app, "--safety-action", "refuse|blur|flag",
                "What becomes of what is flagged. Default refuse: the job fails, and its video is removed.", kWork);
  add_word_flag(app, "--blocked-words", "FILE",
                "Words that no prompt of a request with enable_safety_checker may have, one a line.", kWork);
  add_word_flag(app, "--gpus", "N,N|all", "A worker on each of these GPUs. Default: the first one, or the CPU.", kWork);
  add_word_flag(app, "--device", "cpu|cuda[:N]", "One worker, there.", kWork);
  add_word_flag(app, "--precision", "exact|balanced|fast", "Of every job. Default exact.", kWork);
  add_word_flag(app, "--default-acceleration", "none|regular",
                "Of requests that do not say. Default none; what a request says is obeyed.", kWork);
  add_word_flag(app, "--window", "TIME",
                "How long a job may wait for others that need the same weights. Default 5m; 0: not at all.", kWork);
  add_word_flag(app, "--idle-unload", "TIME", "Free the card after so long without a job. Default 0: never.", kWork);
  add_word_flag(
      app, "--worker-timeout", "TIME",
      "Kill a worker whose job makes no progress for so long; the job goes on with the next one, once. Default "
      "2h on a GPU, never on the CPU; 0: never.",
      kWork);
  add_word_flag(app, "--size-override", "WxH",
                "Render every request at this size, and say so in its log: to try the server without a card.", kWork);
  add_word_flag(app, "--render", "NAME=VALUE",
                "A field of every job that the hosted endpoints do not have or a request leaves out, by its name in "
                "manifests; may be repeated.",
                kWork);
  add_word_flag(app, "--latents-dir", "DIR",
                "Folder whose files requests of /v1/videos/generations may name as latent_path. Names are checked; what "
                "is named is refused for now, as no engine of this build begins with given latents.",
                kWork);
  add_word_flag(app, "--answer-paths", "",
                "Requests of /v1/videos/generations and /v1/videos/sync may be answered by the path of their video in "
                "--data: for a load generator on this machine that may read it.",
                kAccess);
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

}  // namespace

void use_help(CLI::App& app) {
  app.set_help_flag("-h,--help", "Print this text.");
  app.formatter(std::make_shared<HelpFormatter>());
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
      "Serve the hosted endpoints of Wan 2.2 on this machine: fal's, WaveSpeed's and OpenAI's video calls, a queue that "
      "loses nothing, and a page at /. wan-serve key add|list|remove keeps the keys.",
      "wan-serve");
  use_help(app);
  add_flags(app);
  FlagWords read = read_flag_words(words, app, "wan-serve", {"--model", "--interpolator", "--render"});
  ServeCommand command;
  if (read.help) {
    command.answer = app.help();
    return command;
  }
  if (read.has("--version")) {
    command.answer = std::string("wan-serve ") + version() + "\n";
    return command;
  }
  return read_settings(read);
}

}  // namespace wan
