// Rows of the table of parameters: what is looked at before and after, and what becomes of it.
#include "engine/request/params_rows.h"

namespace wan::rows {

std::vector<Parameter> of_safety() {
  const Range threshold{-1, 1};
  return {
      {.name = "enable_safety_checker",
       .field = &Request::enable_safety_checker,
       .tasks = every({.value = false}),
       .group = "Safety",
       .help = "Look at the prompt and the input pictures before anything is computed. On where --safety-checker or "
               "--blocked-words is given, unless --enable-output-safety-checker alone asks for a check."},
      {.name = "enable_output_safety_checker",
       .field = &Request::enable_output_safety_checker,
       .tasks = every({.value = false}),
       .group = "Safety",
       .help = "Look at frames of the finished video before its file appears. On where --safety-checker is given, "
               "unless --enable-safety-checker alone asks for a check."},
      {.name = "safety_checker",
       .field = &Request::safety_checker,
       .tasks = every({}),
       .group = "Safety",
       .help = "Folder of the checker, Falconsai/nsfw_image_detection or CompVis/stable-diffusion-safety-checker as "
               "published; unset, the one that the set has which --model names.",
       .metavar = "DIR",
       .path = true},
      {.name = "safety_threshold",
       .field = &Request::safety_threshold,
       .tasks = every({nullptr, threshold, threshold}),
       .group = "Safety",
       .help = "The score above which a picture is flagged; unset, the checker's own: 0.5 of Falconsai, 0 of CompVis.",
       .metavar = "X"},
      {.name = "safety_action",
       .field = &Request::safety_action,
       .tasks = every({.value = "refuse", .words = {"refuse", "blur", "flag"}}),
       .group = "Safety",
       .help =
           "What becomes of what is flagged: refuse ends the job and keeps the video as OUT.refused.mp4, blur blurs "
           "every frame, flag says it in the metadata alone."},
      {.name = "discard",
       .field = &Request::discard,
       .tasks = every({.value = false}),
       .group = "Safety",
       .help = "Remove a refused video instead of keeping it."},
      {.name = "blocked_words",
       .field = &Request::blocked_words,
       .tasks = every({}),
       .group = "Safety",
       .help = "File with words that no prompt may have: UTF-8, a word or phrase a line, # before remarks. Whole words "
               "count, in letters of either case.",
       .metavar = "FILE",
       .path = true,
       .stored = false},
  };
}

}  // namespace wan::rows
