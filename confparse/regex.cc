#define PCRE2_CODE_UNIT_WIDTH 8
#include "confparse/regex.h"

#include <pcre2.h>

#include <memory>

namespace weir::conf {

namespace {

// PCRE2's own default of steps, said here because a peer chooses the subjects; memory for
// backtracking is bounded besides (in kilobytes).
constexpr uint32_t kMatchLimit = 10'000'000;
constexpr uint32_t kHeapLimit = 20'000;

struct Deleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

// Memory that a thread's matches share.
struct Workspace {
  std::unique_ptr<pcre2_match_data, Deleter> data;
  uint32_t pairs = 0;
  std::unique_ptr<pcre2_match_context, Deleter> context;

  bool reserve(uint32_t wanted) {
    if (!context) {
      context.reset(pcre2_match_context_create(nullptr));
      if (!context) return false;
      pcre2_set_match_limit(context.get(), kMatchLimit);
      pcre2_set_heap_limit(context.get(), kHeapLimit);
    }
    if (pairs >= wanted) return true;
    const uint32_t size = wanted < 16 ? 16 : wanted;
    data.reset(pcre2_match_data_create(size, nullptr));
    pairs = data ? size : 0;
    return data != nullptr;
  }
};

thread_local Workspace workspace;

// From where all else of a configuration comes.
pcre2_general_context* memory_of_regexes() {
  static pcre2_general_context* const context = pcre2_general_context_create(
      [](size_t size, void*) { return ::operator new(size, std::nothrow); },
      [](void* memory, void*) { ::operator delete(memory); }, nullptr);
  return context;
}

std::string compile_error(int error, size_t offset, std::string_view pattern) {
  char text[256];
  if (pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(text), sizeof(text)) < 0) {
    text[0] = 0;
  }
  std::string message = std::string("pcre2_compile() failed: ") + text + " in \"";
  message += pattern;
  message += '"';
  if (offset < pattern.size()) {
    message += " at \"";
    message += pattern.substr(offset);
    message += '"';
  }
  return message;
}

}  // namespace

Regex::Compiled Regex::compile(std::string_view pattern, bool ignore_case, bool jit) {
  int error = 0;
  size_t offset = 0;
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(memory_of_regexes()), &pcre2_compile_context_free);
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    ignore_case ? PCRE2_CASELESS : 0, &error, &offset, context.get());
  Compiled result;
  if (!code) {
    result.error = compile_error(error, offset, pattern);
    return result;
  }
  // Without memory for machine code the interpreter does it.
  if (jit) pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  result.regex = Ref<Regex>(new Regex());
  Regex& regex = *result.regex;
  regex.code_ = code;
  regex.pattern_ = pattern;
  regex.hint_ = RegexHint(pattern, ignore_case);
  regex.ignore_case_ = ignore_case;
  pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &regex.group_count_);
  regex.read_names();
  return result;
}

Regex::~Regex() {
  pcre2_code_free(code_);
}

void Regex::read_names() {
  uint32_t count = 0;
  uint32_t entry_size = 0;
  PCRE2_SPTR table = nullptr;
  pcre2_pattern_info(code_, PCRE2_INFO_NAMECOUNT, &count);
  if (count == 0) return;
  pcre2_pattern_info(code_, PCRE2_INFO_NAMEENTRYSIZE, &entry_size);
  pcre2_pattern_info(code_, PCRE2_INFO_NAMETABLE, &table);
  for (uint32_t i = 0; i < count; ++i, table += entry_size) {
    const uint32_t group = static_cast<uint32_t>(table[0] << 8 | table[1]);
    names_.push_back({reinterpret_cast<const char*>(table + 2), group});
  }
}

Regex::Match Regex::match(std::string_view subject) const {
  Match match;
  if (!hint_.may_match(subject)) return match;
  if (!workspace.reserve(group_count_ + 1)) {
    match.result = Match::Result::failed;
    match.error = PCRE2_ERROR_NOMEMORY;
    return match;
  }
  static const char kNothing = 0;
  const char* text = subject.data() ? subject.data() : &kNothing;
  const int found = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text), subject.size(), 0, 0,
                                workspace.data.get(), workspace.context.get());
  if (found == PCRE2_ERROR_NOMATCH) return match;
  if (found < 0) {
    match.result = Match::Result::failed;
    match.error = found;
    return match;
  }
  match.result = Match::Result::matched;
  // Groups after the last one that took part are set to unset by PCRE2, so all may be read.
  match.offsets = {pcre2_get_ovector_pointer(workspace.data.get()), 2 * (size_t{group_count_} + 1)};
  return match;
}

std::string Regex::failure_text(const Match& match, std::string_view subject) const {
  return "pcre2_match() failed: " + std::to_string(match.error) + " on \"" + std::string(subject) +
         "\" using \"" + pattern_ + "\"";
}

}  // namespace weir::conf
