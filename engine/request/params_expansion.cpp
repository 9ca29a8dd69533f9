// Rows of the table of parameters: who makes a longer prompt of a short one.
#include "engine/request/params_rows.h"

namespace wan::rows {

std::vector<Parameter> of_expansion() {
  constexpr const char* kGroup = "Prompt expansion";
  return {
      {.name = "enable_prompt_expansion",
       .field = &Request::enable_prompt_expansion,
       .tasks = each(two_experts(), {.value = false}),
       .group = kGroup,
       .help = "Let a language model write the prompt out as the video model was trained to read it, once, before "
               "anything is computed. Needs --expander-url, which turns it on by itself."},
      {.name = "expander_url",
       .field = &Request::expander_url,
       .tasks = each(two_experts(), {.value = ""}),
       .group = kGroup,
       .help = "The language server, OpenAI-compatible: llama-server, Ollama, vLLM and others, with or without /v1. It "
               "gets the prompt, and the picture of image to video. Its key, where it wants one, stands in the "
               "environment: WAN_EXPANDER_KEY.",
       .metavar = "URL",
       .empty_is_unset = true,
       .stored = false},
      {.name = "expander_model",
       .field = &Request::expander_model,
       .tasks = each(two_experts(), {.value = ""}),
       .group = kGroup,
       .help = "The model that the language server is to use; llama-server needs none.",
       .metavar = "NAME",
       .empty_is_unset = true},
      {.name = "expander_timeout",
       .field = &Request::expander_timeout,
       .tasks = each(two_experts(), {120, {1, 3600}, {1, 3600}}),
       .group = kGroup,
       .unit = "seconds",
       .help = "How long the language server may take; afterwards the prompt is used as it was given.",
       .metavar = "SECONDS",
       .stored = false},
  };
}

}  // namespace wan::rows
