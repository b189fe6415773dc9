#include "confparse/parser.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "confparse/advice.h"
#include "confparse/lexer.h"

namespace weir::conf {

namespace {

// Blocks whose lines are no directives.
bool holds_data(std::string_view block) {
  return block == "map" || block == "types" || block == "geo" || block == "split_clients" ||
         block == "charset_map";
}

// Reading stops after so many problems.
constexpr size_t kMostProblems = 200;

// "open() "PATH" failed (2: No such file or directory)"; a long path is cut as nginx cuts it, to
// leave room for the reason.
std::string failed(const char* call, const std::string& path, int error) {
  constexpr size_t kMost = 974;
  std::string text = std::string(call) + "() \"" + path + "\" failed";
  if (text.size() > kMost) text = text.substr(0, kMost) + "...";
  return text + " (" + std::to_string(error) + ": " + std::strerror(error) + ")";
}

class Parser {
 public:
  Parser(World& world, Sources& sources, const ParseOptions& options, Tree& tree)
      : world_(world), sources_(sources), options_(options), tree_(tree) {}

  void main_file(const std::string& path);
  void text(FileId file) { parse_file(file); }
  void finish();

 private:
  enum class Stop : uint8_t { none, closed, end, halted };
  struct Frame {
    Lexer& lexer;
    FileId file;
    const Statement* owner;  // the statement whose block is read; null for a file
    std::string_view owner_name;
  };

  void parse_file(FileId file, std::string_view owner_name = {});
  Stop statements(Frame& frame);
  Stop finish_statement(Frame& frame, size_t words_begin, const Token& terminator);
  Stop open_block(Frame& frame, Statement& statement);
  Stop unexpected_end(Frame& frame, size_t words_begin);
  Stop missing_semicolon(Frame& frame, size_t words_begin, const Token& close);
  bool is_repetition(const Frame& frame, const Span& open) const;
  Stop repetition(Frame& inner);
  bool skip_placeholder(Frame& frame, const Span& open);
  Stop anonymous_block(Frame& frame, const Token& open);
  void stray_semicolon(const Frame& frame, const Token& token);
  bool broken_word(Frame& frame, size_t words_begin, const Token& token);
  void end_quote_in_line(Frame& frame, uint32_t quote_begin);
  void halt() {
    if (!halted_) tree_.halted_at = number_;
    halted_ = true;
  }
  void stray_close(const Token& close);
  void expand_include(const Frame& frame, const Statement& statement);
  void include_file(const Frame& frame, const std::string& path, const Statement& statement);
  FileId read(const std::string& path, const Statement* at);
  Diagnostic& problem(std::string text, Span place, Span span, std::string help = {});
  void include_problem(const Statement& at, std::string text, std::string help);
  bool is_command_line(FileId file) const {
    return sources_.kind(file) == Sources::Kind::command_line;
  }

  World& world_;
  Sources& sources_;
  const ParseOptions& options_;
  Tree& tree_;
  std::vector<Statement> open_statements_;  // of all blocks that are being read, outer first
  std::vector<Word> words_;
  std::vector<FileId> include_stack_;
  uint32_t number_ = 0;
  uint32_t depth_ = 0;
  uint32_t includes_ = 0;
  uint64_t bytes_ = 0;
  bool halted_ = false;
  bool quote_ended_ = false;
  Span end_;
};

Diagnostic& Parser::problem(std::string text, Span place, Span span, std::string help) {
  Diagnostic diagnostic;
  diagnostic.text = std::move(text);
  diagnostic.placed = place.file != 0;
  diagnostic.nginx_place = place;
  diagnostic.span = span;
  diagnostic.help = std::move(help);
  diagnostic.number = ++number_;
  tree_.problems.push_back(std::move(diagnostic));
  if (tree_.problems.size() >= kMostProblems) halt();
  return tree_.problems.back();
}

void Parser::include_problem(const Statement& at, std::string text, std::string help) {
  tree_.incomplete = true;
  problem(std::move(text), at.terminator, at.words.back().span, std::move(help));
}

void Parser::main_file(const std::string& path) {
  tree_.file = read(path, nullptr);
  if (tree_.file) parse_file(tree_.file);
}

void Parser::finish() {
  tree_.root.statements = tree_.arena.copy(open_statements_.data(), open_statements_.size());
  tree_.root.close = end_;
  tree_.root.end_number = ++number_;
}

FileId Parser::read(const std::string& path, const Statement* at) {
  const Span place = at ? at->terminator : Span{};
  const Span span = at ? at->words.back().span : Span{};
  if (const FileId known = sources_.find(path)) {
    bytes_ += sources_.text(known).size();
    return known;
  }
  Answer<std::string> answer = world_.read_file(path);
  if (answer.ok()) {
    bytes_ += answer.value.size();
    return sources_.add(path, std::move(answer.value), at ? at->terminator : Span{});
  }
  tree_.incomplete = true;
  if (answer.error == EISDIR) {
    Diagnostic& diagnostic =
        problem(failed("pread", path, EISDIR), {}, span,
                "this is a folder; to include its files write " + path +
                    (path.ends_with('/') ? "*" : "/*") + " or a pattern like it");
    diagnostic.severity = Severity::crit;
    return 0;
  }
  std::string help = explain_message(failed("open", path, answer.error));
  if (answer.error == EFBIG) help = "the file is larger than a configuration may be";
  problem(failed("open", path, answer.error), place, span, std::move(help));
  return 0;
}

void Parser::parse_file(FileId file, std::string_view owner_name) {
  Lexer lexer(file, sources_.text(file), tree_.arena, Lexer::Comments::skip,
              !is_command_line(file));
  Frame frame{lexer, file, nullptr, owner_name};
  include_stack_.push_back(file);
  statements(frame);
  include_stack_.pop_back();
  if (include_stack_.empty()) end_ = {file, lexer.offset(), lexer.offset()};
}

// Reads statements up to the '}' or the end that closes them.
Parser::Stop Parser::statements(Frame& frame) {
  size_t words_begin = words_.size();
  while (!halted_) {
    Token token = frame.lexer.next();
    switch (token.kind) {
      case TokenKind::word:
        words_.push_back(token.word);
        continue;
      case TokenKind::comment:
        continue;
      case TokenKind::end: {
        const Stop stop = unexpected_end(frame, words_begin);
        if (stop == Stop::none) continue;
        return stop;
      }
      case TokenKind::error:
        if (broken_word(frame, words_begin, token)) continue;
        break;
      case TokenKind::close:
        if (words_.size() > words_begin) {
          if (missing_semicolon(frame, words_begin, token) == Stop::halted) break;
        } else if (!frame.owner) {
          stray_close(token);
        }
        if (frame.owner) {
          end_ = token.word.span;
          return Stop::closed;
        }
        continue;
      case TokenKind::semicolon:
      case TokenKind::open: {
        if (words_.size() > words_begin) {
          if (finish_statement(frame, words_begin, token) == Stop::halted) break;
          continue;
        }
        if (token.kind == TokenKind::semicolon) {
          stray_semicolon(frame, token);
        } else if (anonymous_block(frame, token) == Stop::halted) {
          break;
        }
        continue;
      }
    }
  }
  words_.resize(words_begin);
  return Stop::halted;
}

Parser::Stop Parser::finish_statement(Frame& frame, size_t words_begin, const Token& terminator) {
  Statement statement;
  statement.words = tree_.arena.copy(words_.data() + words_begin, words_.size() - words_begin);
  words_.resize(words_begin);
  statement.terminator = terminator.word.span;
  statement.number = ++number_;
  if (terminator.kind == TokenKind::open) {
    if (holds_data(frame.owner_name)) {
      problem(
          "unexpected \"{\"", statement.terminator, statement.terminator,
          "the block of \"" + std::string(frame.owner_name) + "\" holds lines of data, no blocks");
    }
    return open_block(frame, statement);
  }

  const bool is_include = statement.name() == "include" && statement.argument_count() == 1 &&
                          frame.owner_name != "split_clients" && frame.owner_name != "charset_map";
  statement.included = is_include;
  open_statements_.push_back(statement);
  if (is_include) expand_include(frame, statement);
  return halted_ ? Stop::halted : Stop::none;
}

Parser::Stop Parser::open_block(Frame& frame, Statement& statement) {
  if (is_command_line(frame.file)) {
    problem("block directives are not supported in -g option", statement.terminator,
            statement.words[0].span);
    halt();
    return Stop::halted;
  }
  if (depth_ >= options_.limits.block_depth) {
    problem("blocks are nested too deeply", statement.terminator, statement.words[0].span,
            "more than " + std::to_string(options_.limits.block_depth) + " levels");
    halt();
    return Stop::halted;
  }
  Block* block = tree_.arena.make<Block>();
  statement.block = block;
  if (skip_placeholder(frame, statement.terminator)) {
    block->close = statement.terminator;
    block->end_number = ++number_;
    open_statements_.push_back(statement);
    return Stop::none;
  }
  const size_t base = open_statements_.size();
  Frame inner{frame.lexer, frame.file, &statement, statement.name()};
  ++depth_;
  const Stop stop =
      is_repetition(frame, statement.terminator) ? repetition(inner) : statements(inner);
  --depth_;
  block->statements =
      tree_.arena.copy(open_statements_.data() + base, open_statements_.size() - base);
  block->close =
      stop == Stop::closed ? end_ : Span{frame.file, frame.lexer.offset(), frame.lexer.offset()};
  block->end_number = ++number_;
  open_statements_.resize(base);
  open_statements_.push_back(statement);
  return halted_ ? Stop::halted : Stop::none;
}

// "{4}" of an expression that is not in quotes: nginx takes its '{' for that of a block, and the
// rest for a statement, whose block is the one that was meant.
bool Parser::is_repetition(const Frame& frame, const Span& open) const {
  const std::string_view text = sources_.text(frame.file).substr(open.end, 16);
  const size_t digits = text.find_first_not_of("0123456789,");
  return digits != text.npos && digits > 0 && text[digits] == '}';
}

// Reads that statement; the block around it has no '}' of its own.
Parser::Stop Parser::repetition(Frame& inner) {
  const size_t words_begin = words_.size();
  const uint32_t begin = inner.lexer.offset();
  while (!halted_) {
    const Token token = inner.lexer.next();
    if (token.kind == TokenKind::word) {
      words_.push_back(token.word);
    } else if (token.kind == TokenKind::semicolon) {
      // "rewrite ^/a{4} /b;": what is left of a line.
      tree_.incomplete = true;
      end_ = token.word.span;
      words_.resize(words_begin);
      return Stop::closed;
    } else if (token.kind == TokenKind::open) {
      tree_.incomplete = true;
      end_ = token.word.span;
      const Stop stop = finish_statement(inner, words_begin, token);
      return stop == Stop::halted ? stop : Stop::closed;
    } else {
      break;
    }
  }
  words_.resize(words_begin);
  inner.lexer.go_to(begin);
  return statements(inner);
}

// "{{ name }}": what it makes of the line would be many problems of one cause.
bool Parser::skip_placeholder(Frame& frame, const Span& open) {
  const std::string_view text = sources_.text(frame.file);
  if (!text.substr(open.begin).starts_with("{{")) return false;
  const size_t line_end = std::min(text.find('\n', open.begin), text.size());
  const size_t close = text.find("}}", open.begin);
  if (close == text.npos || close > line_end) return false;
  const size_t semicolon = text.find(';', close);
  const size_t end = semicolon < line_end ? semicolon + 1 : close + 2;
  tree_.incomplete = true;
  frame.lexer.go_to(static_cast<uint32_t>(end));
  return true;
}

// A '}' after words: nginx stops here. The statement is taken as ended (unless it may be several
// lines of which only the last lacks its ';') and the block as closed, so that what follows is
// still read for further problems.
Parser::Stop Parser::missing_semicolon(Frame& frame, size_t words_begin, const Token& close) {
  const Word& first = words_[words_begin];
  const Word& last = words_.back();
  const uint32_t line = sources_.locate(frame.file, first.span.begin).line;
  const bool one_line = sources_.locate(frame.file, last.span.end).line == line;
  problem("unexpected \"}\"", close.word.span, {frame.file, last.span.end - 1, last.span.end},
          "the statement \"" + std::string(first.text.substr(0, 60)) + "\" of line " +
              std::to_string(line) + " has no \";\" at its end");
  if (one_line) {
    Token end = close;
    end.kind = TokenKind::semicolon;
    return finish_statement(frame, words_begin, end);
  }
  tree_.incomplete = true;
  words_.resize(words_begin);
  return Stop::none;
}

void Parser::stray_semicolon(const Frame& frame, const Token& token) {
  const std::string_view before = sources_.text(frame.file).substr(0, token.word.span.begin);
  const size_t last = before.find_last_not_of(" \t\r\n");
  const bool after_block = last != before.npos && before[last] == '}';
  problem("unexpected \";\"", token.word.span, token.word.span,
          after_block ? "no \";\" comes after the \"}\" of a block"
                      : "there is no statement to end here");
}

// A '{' with nothing before it: what is in it is read for syntax only.
Parser::Stop Parser::anonymous_block(Frame& frame, const Token& open) {
  problem("unexpected \"{\"", open.word.span, open.word.span,
          "a block needs a name before its \"{\"");
  if (is_command_line(frame.file) || depth_ >= options_.limits.block_depth) halt();
  if (halted_) return Stop::halted;
  tree_.incomplete = true;
  Statement nameless;
  nameless.words = tree_.arena.copy(&open.word, 1);
  const size_t base = open_statements_.size();
  Frame inner{frame.lexer, frame.file, &nameless, {}};
  ++depth_;
  statements(inner);
  --depth_;
  open_statements_.resize(base);
  return halted_ ? Stop::halted : Stop::none;
}

// A quote that nobody closes, or text right behind one. Reading goes on where it makes sense: at
// the end of the line in which the quote opened. False: it does not.
bool Parser::broken_word(Frame& frame, size_t words_begin, const Token& token) {
  const std::string_view text = sources_.text(frame.file);
  const uint32_t end = token.word.span.begin;
  const bool lines =
      token.after_quote &&
      text.substr(token.quote_begin, end - token.quote_begin).find('\n') != std::string_view::npos;
  if (token.open_quote) {
    problem(token.message, token.word.span, token.word.span,
            "the quote that opens here is never closed");
    end_quote_in_line(frame, token.word.span.begin);
  } else if (lines) {
    const uint32_t line = sources_.locate(frame.file, token.quote_begin).line;
    problem(token.message, token.word.span, {frame.file, token.quote_begin, token.quote_begin + 1},
            "the quote that opens here ends in line " +
                std::to_string(sources_.locate(frame.file, end).line) +
                ": is one missing in line " + std::to_string(line) + "?");
    end_quote_in_line(frame, token.quote_begin);
  } else if (token.after_quote) {
    problem(token.message, token.word.span, token.word.span,
            "after a closing quote a space or \";\" must come; a quote in a quoted text is written "
            "\\\", or the text put into quotes of the other kind");
    tree_.incomplete = true;
    words_.resize(words_begin);
    const size_t stop = text.find_first_of(";{\n", end);
    const bool block = stop != text.npos && text[stop] == '{';
    if (block) halt();
    frame.lexer.go_to(static_cast<uint32_t>(stop == text.npos ? text.size() : stop + 1));
  } else {
    problem(token.message, token.word.span, token.word.span);
    halt();
  }
  return !halted_;
}

// Takes the quote as closed before the ';' or '{' that ends its line.
void Parser::end_quote_in_line(Frame& frame, uint32_t quote_begin) {
  const std::string_view text = sources_.text(frame.file);
  const size_t line_end = std::min(text.find('\n', quote_begin), text.size());
  size_t last = text.substr(0, line_end).find_last_not_of(" \t\r");
  if (last <= quote_begin || (text[last] != ';' && text[last] != '{')) last = line_end;
  Word word;
  word.span = {frame.file, quote_begin, static_cast<uint32_t>(last)};
  word.text = text.substr(quote_begin + 1, last - quote_begin - 1);
  word.quote = text[quote_begin];
  words_.push_back(word);
  tree_.incomplete = true;
  frame.lexer.go_to(static_cast<uint32_t>(last));
}

void Parser::stray_close(const Token& close) {
  tree_.stray_close = true;
  problem("unexpected \"}\"", close.word.span, close.word.span,
          "no block is open here: there is one \"}\" too many, or one \"{\" too few above");
}

Parser::Stop Parser::unexpected_end(Frame& frame, size_t words_begin) {
  const uint32_t offset = frame.lexer.offset();
  const Span here{frame.file, offset, offset};
  const bool unfinished = words_.size() > words_begin || frame.lexer.ended_inside_word();
  if (!unfinished && !frame.owner) return Stop::end;
  if (unfinished) {
    const bool quote = frame.lexer.ended_inside_word() && frame.lexer.unfinished_quote();
    const uint32_t begin = words_.size() > words_begin && !quote ? words_[words_begin].span.begin
                                                                 : frame.lexer.unfinished_word();
    const char* text = is_command_line(frame.file)
                           ? "unexpected end of parameter, expecting \";\""
                           : "unexpected end of file, expecting \";\" or \"}\"";
    const std::string_view first =
        words_.size() > words_begin ? words_[words_begin].text : std::string_view();
    std::string help = "the statement that begins here has no \";\" at its end";
    if (first.starts_with('<')) help += "; it looks like a configuration of Apache, or like HTML";
    if (first.ends_with(':')) help += "; it looks like YAML";
    if (quote) help = "the quote that opens here is never closed";
    problem(text, here, {frame.file, begin, begin + 1}, std::move(help));
    // Once for each text: whoever mixes up quotes does it in many lines.
    if (quote && !halted_ && !std::exchange(quote_ended_, true)) {
      end_quote_in_line(frame, begin);
      return Stop::none;
    }
  } else {
    problem("unexpected end of file, expecting \"}\"", here, frame.owner->words[0].span,
            "the block of \"" + std::string(frame.owner->name().substr(0, 60)) +
                "\" that opens here is never closed");
  }
  halt();
  words_.resize(words_begin);
  return Stop::halted;
}

void Parser::expand_include(const Frame& frame, const Statement& statement) {
  // nginx's paths are C strings.
  std::string path(statement.argument(0).substr(0, statement.argument(0).find('\0')));
  if (!path.starts_with('/')) path = options_.conf_prefix + path;
  // `geo` takes its include's name as it is.
  if (frame.owner_name == "geo" || path.find_first_of("*?[") == std::string::npos) {
    include_file(frame, path, statement);
    return;
  }
  const Answer<std::vector<std::string>> files = world_.expand(path);
  if (!files.ok()) {
    include_problem(statement, failed("glob", path, files.error), {});
    return;
  }
  for (const std::string& file : files.value) {
    if (halted_) return;
    include_file(frame, file, statement);
  }
}

void Parser::include_file(const Frame& frame, const std::string& path, const Statement& statement) {
  const ParseLimits& limits = options_.limits;
  const FileId file = read(path, &statement);
  if (!file) return;
  // nginx goes in circles until it has no descriptors left, or something in the file is wrong where
  // it is included: that is seen in the second round.
  if (std::count(include_stack_.begin(), include_stack_.end(), file) > 1) {
    include_problem(statement, failed("open", path, EMFILE), "the file includes itself");
    return;
  }
  if (include_stack_.size() >= limits.include_depth || ++includes_ > limits.includes ||
      bytes_ > limits.total_bytes) {
    include_problem(statement, failed("open", path, EMFILE),
                    "the configuration includes too many files, or too much text");
    halt();
    return;
  }
  parse_file(file, frame.owner_name);
}

}  // namespace

Tree parse_configuration(World& world, Sources& sources, const std::string& path,
                         const ParseOptions& options) {
  Tree tree;
  Parser parser(world, sources, options, tree);
  if (!options.global_directives.empty()) {
    parser.text(
        sources.add("command line", options.global_directives, {}, Sources::Kind::command_line));
  }
  parser.main_file(path);
  parser.finish();
  return tree;
}

Tree parse_source(World& world, Sources& sources, FileId file, const ParseOptions& options) {
  Tree tree;
  tree.file = file;
  Parser parser(world, sources, options, tree);
  parser.text(file);
  parser.finish();
  return tree;
}

}  // namespace weir::conf
