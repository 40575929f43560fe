/**
 * What the library asks of a logger. A pino logger fits, and so does anything with the same four methods.
 *
 * The layers below take one by this interface, so that none of them imports a logging library.
 */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** A logger that adds the given fields to every line. */
  child?(fields: Record<string, unknown>): Logger;
}

const ignore = (): void => undefined;

/** The logger that says nothing. */
export const SILENT: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };
