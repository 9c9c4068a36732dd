declare module '*.sql' {
  const text: string;
  export default text;
}
declare module '*.control' {
  const text: string;
  export default text;
}
