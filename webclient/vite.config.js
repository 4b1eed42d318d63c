import { defineConfig } from 'vite'

// A mode is a page: its folder, and where the program serves it.
const roots = { form: '/support/', playground: '/' }

export default defineConfig(({ mode }) => ({
  root: mode,
  base: roots[mode] ?? '/',
  publicDir: false,
  build: {
    outDir: `../dist/${mode}`,
    emptyOutDir: true,
    assetsInlineLimit: 0, // the content security policy allows no data: addresses
    modulePreload: false,
    target: 'es2022',
  },
}))
