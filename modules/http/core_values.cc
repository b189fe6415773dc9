#include <algorithm>

#include "confparse/address.h"
#include "confparse/setters.h"
#include "engine/http/core_settings.h"
#include "engine/http/file_cache.h"
#include "modules/core/error_log.h"
#include "modules/core/thread_pool_uses.h"
#include "modules/http/core.h"
#include "modules/shared/resolver.h"

// Directives of ngx_http_core_module whose words are read by rules of their own.
namespace weir::http::core {

using conf::quoted;

namespace {

constexpr int64_t kFileCacheInactive = 60;  // seconds

bool mentions(std::string_view text, std::string_view variable) {
  return text.find(variable) != std::string_view::npos;
}

}  // namespace

void set_root(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<CoreSettings>();
  const bool alias = statement.name() == "alias";
  const Location* location = builder(compiler).current_location;
  if (compiler.used(scope, "root") || compiler.used(scope, "alias")) {
    if (settings.alias == alias) {
      compiler.duplicate(statement);
    } else {
      compiler.error(
          statement,
          quoted(statement.name()) + " directive is duplicate, " +
              quoted(settings.alias ? "alias" : "root") + " directive was specified earlier",
          "\"root\" puts the whole URI behind its path, \"alias\" puts its path in place of the "
          "location's: one of them");
    }
    return;
  }
  if (alias && location && location->kind == Location::Kind::named) {
    compiler.error(statement, "the \"alias\" directive cannot be used inside the named location",
                   "a named location has no path that could be replaced: use \"root\"");
    return;
  }
  std::string_view value = statement.argument(0);
  for (std::string_view name : {"document_root", "realpath_root"}) {
    if (mentions(value, "$" + std::string(name)) ||
        mentions(value, "${" + std::string(name) + "}")) {
      compiler.error(statement, "the $" + std::string(name) + " variable cannot be used in the " +
                                    quoted(statement.name()) + " directive");
      return;
    }
  }
  if (!alias && value.size() > 1 && value.ends_with('/')) value.remove_suffix(1);
  settings.root = compiler.make_path_template(statement, statement.words[1], value);
  settings.alias = alias;
  settings.location_name =
      alias && location && location->kind != Location::Kind::regex ? location->name : "";
  settings.alias_by_regex = alias && location && location->kind == Location::Kind::regex;
}

void set_max_body_size(Compiler& compiler, Scope& scope, const Statement& statement) {
  conf::FileOffset value;
  if (!conf::read_setting(compiler, scope, statement, value)) return;
  auto& settings = scope.write<CoreSettings>();
  settings.client_max_body_size = value;
  settings.body_limit_given = !is_default_statement(compiler, statement);
}

void set_error_page(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<CoreSettings>();
  if (compiler.first_use(scope)) settings.error_pages.clear();
  ErrorPageRule rule;
  size_t codes = statement.argument_count() - 1;
  const conf::Word& before_last = statement.words[statement.argument_count() - 1];
  if (codes >= 1 && before_last.text.starts_with("=")) {
    if (codes == 1) {
      compiler.invalid_value(
          statement, before_last,
          "it is written error_page 404 =200 /page; \"=\" alone takes the status of "
          "what answers");
      return;
    }
    --codes;
    rule.overwrite = 0;
    if (before_last.text.size() > 1) {
      const auto number = conf::parse_number(before_last.text.substr(1));
      if (!number) {
        compiler.invalid_value(
            statement, before_last,
            "it is written error_page 404 =200 /page; \"=\" alone takes the status of "
            "what answers");
        return;
      }
      rule.overwrite = static_cast<int>(*number);
    }
  }
  for (size_t i = 1; i <= codes; ++i) {
    const conf::Word& word = statement.words[i];
    const auto code = conf::parse_number(word.text);
    if (!code || *code == 499) {
      compiler.invalid_value(statement, word,
                             "statuses come first, the URI last: error_page 500 502 /50x.html");
      return;
    }
    if (*code < 300 || *code > 599) {
      compiler.error(statement, "value " + quoted(word.text) + " must be between 300 and 599",
                     "an error_page is for answers of these statuses", &word);
      return;
    }
    rule.codes.push_back(static_cast<int>(*code));
  }
  const conf::Word& target = statement.words.back();
  std::string_view uri = target.text;
  if (uri.find('$') == std::string_view::npos && uri.starts_with("/")) {
    if (const size_t mark = uri.find('?'); mark != std::string_view::npos) {
      rule.args = uri.substr(mark + 1);
      uri = uri.substr(0, mark);
    }
    rule.target = conf::Template::literal(std::string(uri));
  } else {
    rule.target = compiler.make_template(statement, target);
  }
  settings.error_pages.push_back(std::move(rule));
}

void set_keepalive_timeout(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<CoreSettings>();
  const auto timeout = conf::parse_milliseconds(statement.argument(0));
  if (!timeout) {
    compiler.error(statement, "\"keepalive_timeout\" directive invalid value",
                   conf::explain_time(statement.argument(0)), &statement.words[1]);
    return;
  }
  settings.keepalive_timeout = Milliseconds{*timeout};
  if (statement.argument_count() < 2) return;
  const auto header = conf::parse_seconds(statement.argument(1));
  if (!header) {
    compiler.error(statement, "\"keepalive_timeout\" directive invalid value",
                   conf::explain_time(statement.argument(1)), &statement.words[2]);
    return;
  }
  settings.keepalive_header = conf::Seconds{*header};
}

void set_large_client_header_buffers(Compiler& compiler, Scope& scope, const Statement& statement) {
  const auto count = conf::parse_number(statement.argument(0));
  const auto size = conf::parse_size(statement.argument(1));
  if (!count || *count == 0 || !size || *size == 0) {
    compiler.error(statement, "\"large_client_header_buffers\" directive invalid value",
                   "the number of buffers and the size of one: 4 8k");
    return;
  }
  auto& limits = scope.write<ServerSettings>().head_limits;
  limits.buffer_count = static_cast<uint32_t>(*count);
  limits.buffer_size = static_cast<uint32_t>(*size);
}

namespace {

void set_rate(Compiler& compiler, const Statement& statement, conf::Template& to) {
  to = compiler.make_template(statement, statement.words[1]);
  if (!to.is_literal() || conf::parse_size(to.literal_text())) return;
  compiler.error(statement, quoted(statement.name()) + " directive invalid value",
                 "bytes per second, with k or m", &statement.words[1]);
}

}  // namespace

void set_limit_rate(Compiler& compiler, Scope& scope, const Statement& statement) {
  set_rate(compiler, statement, scope.write<CoreSettings>().limit_rate);
}

void set_limit_rate_after(Compiler& compiler, Scope& scope, const Statement& statement) {
  set_rate(compiler, statement, scope.write<CoreSettings>().limit_rate_after);
}

void set_output_buffers(Compiler& compiler, Scope& scope, const Statement& statement) {
  const auto count = conf::parse_number(statement.argument(0));
  const auto size = conf::parse_size(statement.argument(1));
  if (!count || *count == 0 || !size || *size == 0) {
    compiler.error(statement, "\"output_buffers\" directive invalid value",
                   "the number of buffers and the size of one: 2 32k");
    return;
  }
  auto& settings = scope.write<CoreSettings>();
  settings.output_buffer_count = Number{*count};
  settings.output_buffer_size = Bytes{*size};
}

void set_aio(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<CoreSettings>();
  const std::string_view value = statement.argument(0);
  settings.aio_threads = false;
  if (value == "off") return;
  if (value == "on" || value == "threads") {
    settings.aio_threads = true;
    return;
  }
  if (value.starts_with("threads=")) {
    settings.aio_threads = true;
    const auto pool = compiler.make_template(statement, statement.words[1], value.substr(8));
    if (pool.is_literal()) {
      compiler.state<weir::core::ThreadPoolUses>().uses.push_back(
          {std::string(pool.literal_text()), &statement});
    }
    return;
  }
  compiler.error(statement, "\"aio\" directive invalid value", {}, &statement.words[1]);
}

void set_directio(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<CoreSettings>();
  if (statement.argument(0) == "off") {
    settings.directio.reset();
    return;
  }
  const auto size = conf::parse_offset(statement.argument(0));
  if (!size) {
    compiler.error(statement, "\"directio\" directive invalid value", {}, &statement.words[1]);
    return;
  }
  settings.directio = conf::FileOffset{*size};
}

void set_disable_symlinks(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<CoreSettings>();
  settings.disable_symlinks_from = {};
  bool has_rule = false;
  bool has_from = false;
  const auto duplicate = [&] {
    compiler.error(statement, "duplicate parameters \"" + std::string(statement.argument(0)) + " " +
                                  std::string(statement.argument(1)) + "\"");
  };
  for (size_t i = 1; i < statement.words.size(); ++i) {
    const conf::Word& word = statement.words[i];
    const bool is_from = word.text.starts_with("from=");
    const bool is_rule = word.text == "off" || word.text == "on" || word.text == "if_not_owner";
    if ((is_from && has_from) || (is_rule && has_rule)) return duplicate();
    if (word.text == "off" || word.text == "on" || word.text == "if_not_owner") {
      settings.disable_symlinks = word.text == "off"  ? SymlinkRule::off
                                  : word.text == "on" ? SymlinkRule::on
                                                      : SymlinkRule::if_not_owner;
      has_rule = true;
    } else if (is_from) {
      has_from = true;
      settings.disable_symlinks_from = compiler.make_template(statement, word, word.text.substr(5));
    } else {
      compiler.invalid_parameter(statement, word);
      return;
    }
  }
  if (!has_rule) {
    compiler.error(statement,
                   "\"disable_symlinks\" must have \"off\", \"on\" or \"if_not_owner\" parameter");
  } else if (settings.disable_symlinks == SymlinkRule::off && statement.argument_count() > 1) {
    compiler.error(statement, "\"from=\" cannot be used with \"off\" parameter");
  }
}

void set_open_file_cache(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<CoreSettings>();
  settings.open_file_cache = nullptr;
  int64_t most = 0;
  int64_t inactive = kFileCacheInactive;
  bool off = false;
  for (size_t i = 1; i < statement.words.size(); ++i) {
    const conf::Word& word = statement.words[i];
    bool valid = true;
    if (word.text.starts_with("max=")) {
      const auto value = conf::parse_number(word.text.substr(4));
      valid = value && *value > 0;
      if (valid) most = *value;
    } else if (word.text.starts_with("inactive=")) {
      const auto value = conf::parse_seconds(word.text.substr(9));
      valid = value.has_value();
      if (valid) inactive = *value;
    } else if (word.text == "off") {
      off = true;
      continue;
    } else {
      valid = false;
    }
    if (!valid) {
      compiler.error(statement, "invalid \"open_file_cache\" parameter " + quoted(word.text), {},
                     &word);
      return;
    }
  }
  if (off) return;
  if (most == 0) {
    compiler.error(statement, "\"open_file_cache\" must have the \"max\" parameter");
    return;
  }
  settings.open_file_cache = std::make_shared<FileCache>(static_cast<size_t>(most),
                                                         static_cast<uint64_t>(inactive) * 1000);
}

void set_resolver(Compiler& compiler, Scope& scope, const Statement& statement) {
  std::vector<std::string> words;
  if (shared::read_resolver(compiler, statement, true, words)) {
    scope.write<CoreSettings>().resolver = std::move(words);
  }
}

// connection_pool_size, request_pool_size: weir sizes its own memory; the value is checked.
void set_pool_size(Compiler& compiler, Scope& scope, const Statement& statement) {
  const auto size = conf::parse_size(statement.argument(0));
  if (!size) {
    compiler.error(statement, quoted(statement.name()) + " directive invalid value", {},
                   &statement.words[1]);
    return;
  }
  if (*size < 112) {
    compiler.error(statement, "the pool size must be no less than 112",
                   "it is 256 or 512 by default: leave the directive out", &statement.words[1]);
  } else if (*size % 16 != 0) {
    compiler.error(statement, "the pool size must be a multiple of 16",
                   "it is 256 or 512 by default: leave the directive out", &statement.words[1]);
  }
  auto& settings = scope.write<ServerSettings>();
  (statement.name().starts_with("request") ? settings.request_pool_size
                                           : settings.connection_pool_size) = Bytes{*size};
}

void set_early_hints(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<CoreSettings>();
  if (compiler.first_use(scope)) settings.early_hints.clear();
  for (size_t i = 1; i < statement.words.size(); ++i) {
    settings.early_hints.push_back(compiler.make_template(statement, statement.words[i]));
  }
}

void set_error_log(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<CoreSettings>();
  auto targets = std::make_shared<ErrorLogTargets>();
  if (!compiler.first_use(scope) && settings.error_log) *targets = *settings.error_log;
  if (read_error_log(compiler, statement, *targets)) settings.error_log = std::move(targets);
}

void set_client_body_temp_path(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<CoreSettings>();
  read_temp_path(compiler, statement, settings.client_body_temp_path);
}

}  // namespace weir::http::core

namespace weir::http {

namespace {

class TempFolders final : public conf::CompilerState {
 public:
  struct Use {
    TempPath path;
    const conf::Statement* at = nullptr;
  };
  std::unordered_map<std::string, Use> by_path;
};

// One folder may be named twice, with the same levels.
bool check_same_levels(conf::Compiler& compiler, const conf::Statement& statement,
                       const TempPath& path) {
  if (is_default_statement(compiler, statement)) return true;
  const auto [known, is_new] =
      compiler.state<TempFolders>().by_path.emplace(path.path, TempFolders::Use{path, &statement});
  if (is_new || std::equal(path.levels, path.levels + 3, known->second.path.levels)) return true;
  compiler.error(statement,
                 "the same path name \"" + path.path + "\"" +
                     compiler.sources().place(known->second.at->terminator) +
                     " has the different levels than",
                 "one folder has one layout", &statement.words[1]);
  return false;
}

}  // namespace

void read_temp_path(conf::Compiler& compiler, const conf::Statement& statement, TempPath& to) {
  to = {};
  std::string_view path = statement.argument(0);
  if (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  to.path = compiler.full_path(path);
  int total = 0;
  for (size_t i = 1; i < statement.argument_count(); ++i) {
    const auto level = conf::parse_number(statement.argument(i));
    if (!level || *level < 1 || *level > 10 || (total += static_cast<int>(*level)) > 10) {
      compiler.error(statement, "\"" + std::string(statement.name()) + "\" directive invalid value",
                     "the levels are numbers, 10 together at most", &statement.words[i + 1]);
      return;
    }
    to.levels[i - 1] = static_cast<int>(*level);
  }
  if (!check_same_levels(compiler, statement, to)) return;
  compiler.state<ResourceList>().want_temp_folder(to.path);
}

}  // namespace weir::http
