/**
 * koffi, loaded when it is first needed: importing the library must load nothing native, so that the software
 * device works where koffi does not.
 */
import { createRequire } from 'node:module';
import { NativeError } from '../errors.js';
import { ownFile } from './own-file.js';

export type Koffi = typeof import('koffi');
export type KoffiLibrary = ReturnType<Koffi['load']>;

let loaded: Koffi | undefined;

/** @throws NativeError NATIVE_UNSUPPORTED_PLATFORM, NATIVE_CALL_FAILED */
export function koffi(): Koffi {
  loaded ??= loadKoffi(process.platform, process.arch);
  return loaded;
}

/** Whether there is a shim for this kind of machine; throws where not. */
export function requireSupportedPlatform(platform: string, arch: string): void {
  if (platform === 'linux' && (arch === 'x64' || arch === 'arm64')) return;
  throw new NativeError('NATIVE_UNSUPPORTED_PLATFORM', `This is ${platform} on ${arch}`);
}

function loadKoffi(platform: string, arch: string): Koffi {
  requireSupportedPlatform(platform, arch);
  try {
    return createRequire(ownFile())('koffi') as Koffi;
  } catch (cause) {
    throw new NativeError(
      'NATIVE_CALL_FAILED',
      'koffi, the foreign function interface, could not be loaded',
      {
        remedy:
          'Install the package again without --omit=optional: koffi brings its binary as an optional package. ' +
          'Where a bundler has moved the code, install koffi beside the bundle.',
        syscall: 'require koffi',
        cause,
      },
    );
  }
}
